"""What every slide reader offers."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import UnsupportedSlideError
from wsi_specdec.geometry import Box, Size

WHITE = 255
# Most pixels that are ever decoded in one piece: half a GB where a decoder pads RGB to 4 bytes.
MAX_DECODED_PX: Final = 2**27


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """What a slide states about itself.

    Attributes
    ----------
    vendor
        Maker of the format, as OpenSlide names it; "generic-tiff", "png" or "jpeg" where there is
        none.
    reader
        What reads it: "openslide", "tiffslide" or "image".
    level_sizes, level_downsamples
        Size and downsample of each level, finest first.
    mpp
        µm per level-0 pixel; None where unknown.
    mpp_source
        Where `mpp` is from: "metadata", "manifest" or "flag"; None where unknown.
    objective_power
        Magnification of the objective, where stated.
    scanner
        Model or serial of the scanner, where stated.
    bounds
        The part that was scanned, in level-0 pixels; the whole slide where not stated.
    fluorescence
        Whether the metadata say that it is a fluorescence scan.
    warnings
        What the user should know about its resolution, a sentence each.
    """

    vendor: str
    reader: str
    level_sizes: tuple[Size, ...]
    level_downsamples: tuple[float, ...]
    mpp: float | None
    mpp_source: str | None
    objective_power: float | None
    scanner: str | None
    bounds: Box
    fluorescence: bool
    warnings: tuple[str, ...] = ()


class SlideReader(Protocol):
    """An open slide. Regions may be read by several threads at once.

    Attributes
    ----------
    path
        The slide's file.
    info
        What it states about itself.
    """

    path: Path
    info: SlideInfo

    def read_region(self, x: int, y: int, level: int, size: Size) -> NDArray[np.uint8]:
        """Read a region.

        Parameters
        ----------
        x, y
            Top-left corner in level-0 pixels; may lie outside the slide. The region begins with the
            level's pixel that is nearest.
        level
            The level to read, 0 is the finest.
        size
            Size of the region in pixels of `level`.

        Returns
        -------
        uint8, (height, width, 3), RGB; transparency and all outside the slide is white.

        Raises
        ------
        SlideReadError
            If the file turns out to be corrupt or truncated.
        """
        ...

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite RGBA of straight alpha, (h, w, 4), on white: RGB, (h, w, 3)."""
    alpha = pixels[..., 3:]
    if alpha.size == 0 or alpha.min() == WHITE:
        return np.ascontiguousarray(pixels[..., :3])
    share = alpha.astype(np.uint16)
    mixed = pixels[..., :3] * share + WHITE * (WHITE - share)
    return ((mixed + WHITE // 2) // WHITE).astype(np.uint8)


def check_decodable(size: Size, kind: str, path: Path) -> None:
    """Refuse what must be decoded in one piece and is larger than memory should bear.

    Parameters
    ----------
    size
        Of one piece, in pixels.
    kind
        What the pieces are: "tiles", "strips" or "one piece".
    path
        The slide, for the message.

    Raises
    ------
    UnsupportedSlideError
        Naming the remedy.
    """
    if size.area > MAX_DECODED_PX:
        msg = (
            f"{path} is stored in {kind} of {size.width} x {size.height} px, which can only be "
            f"decoded whole; the limit is {MAX_DECODED_PX:,} px: convert it to a tiled TIFF, for "
            "one with `vips tiffsave --tile --pyramid`"
        )
        raise UnsupportedSlideError(msg)
