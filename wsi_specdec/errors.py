"""The project's error types.

Each also inherits the builtin a caller would expect, and each message says what is wrong, in
which file, and what to do about it.
"""


class WsiSpecdecError(Exception):
    """Base of every error raised on purpose by this package."""


class ConfigError(WsiSpecdecError, ValueError):
    """A setting is missing, unknown or out of range."""


class SettingsMismatchError(ConfigError):
    """An output folder was made with other settings than those asked for now."""


class ManifestError(WsiSpecdecError, ValueError):
    """A manifest cannot be read, or contradicts itself or the files it names."""


class LeakError(ManifestError):
    """One patient stands in two splits."""


class SlideError(WsiSpecdecError):
    """A slide cannot be used. Costs that slide alone."""


class SlideNotFoundError(SlideError, FileNotFoundError):
    """A slide's file does not exist."""


class SlideReadError(SlideError, OSError):
    """A slide's file is corrupt, truncated or of an unknown format."""


class UnsupportedSlideError(SlideError, ValueError):
    """A slide can be read but is not what this package works on, for one fluorescence."""


class FluorescenceError(UnsupportedSlideError):
    """A slide is fluorescence, by its metadata or by the look of it."""


class ResolutionError(SlideError, ValueError):
    """A slide's µm per pixel is missing, implausible, or coarser than what was asked for."""


class ImageError(WsiSpecdecError, ValueError):
    """An image that is no slide cannot be read, or is not one to pack. Costs that image alone."""


class StoreError(WsiSpecdecError, ValueError):
    """A tile store is missing, incomplete or of another schema."""


class RunDirectoryError(WsiSpecdecError, ValueError):
    """A run directory lacks a file, or one of its files does not hold what it should."""


class ModelError(WsiSpecdecError, ValueError):
    """A model folder is missing a file or does not fit the data it is used on."""


class NotEnoughDataError(WsiSpecdecError, ValueError):
    """There are too few slides, tiles or classes for what was asked."""


class WorkerError(WsiSpecdecError, RuntimeError):
    """A process that worked for this one was killed."""
