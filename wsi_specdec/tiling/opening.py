"""A row of the manifest, from its file to an open slide that can be cut into tiles."""

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig
from wsi_specdec.errors import FluorescenceError, SlideNotFoundError
from wsi_specdec.slides import SlideReader, open_slide, slide_fingerprint


def mark_of(slide: Slide, config: TileConfig) -> str:
    """Return the fingerprint of a slide's file.

    Raises
    ------
    SlideNotFoundError
        If there is no such file.
    """
    if not slide.path.exists():
        msg = f"no such slide: {slide.path}"
        raise SlideNotFoundError(msg)
    return slide_fingerprint(slide.path, full=config.full_hash)


def open_given(slide: Slide, config: TileConfig) -> SlideReader:
    """Open a slide, at the resolution that the manifest or the settings give, if they do.

    Raises
    ------
    SlideError
        If it cannot be read.
    """
    mpp, source = (slide.mpp, "manifest") if slide.mpp is not None else (config.slide_mpp, "flag")
    return open_slide(slide.path, config.reader, mpp, source)


def open_brightfield(slide: Slide, config: TileConfig) -> SlideReader:
    """Open a slide as `open_given` does, and refuse it where its metadata say fluorescence.

    Raises
    ------
    SlideError
        If it cannot be read, or is fluorescence.
    """
    reader = open_given(slide, config)
    if reader.info.fluorescence:
        reader.close()
        msg = "its metadata say fluorescence; only brightfield slides such as H&E are supported"
        raise FluorescenceError(msg)
    return reader
