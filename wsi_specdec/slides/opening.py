"""Chooses the reader of a slide."""

from pathlib import Path

from wsi_specdec.config import ReaderName
from wsi_specdec.errors import SlideNotFoundError, SlideReadError
from wsi_specdec.slides.base import SlideReader
from wsi_specdec.slides.openslide_reader import OpenSlideReader

# Classic, NDPI and BigTIFF, either byte order.
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_slide(
    path: Path,
    reader: ReaderName = "auto",
    mpp: float | None = None,
    mpp_source: str = "flag",
) -> SlideReader:
    """Open a slide.

    Parameters
    ----------
    path
        The slide's file.
    reader
        Library to use; "auto" takes OpenSlide, and TiffSlide for a TIFF it cannot open.
    mpp
        µm per level-0 pixel that overrides the metadata.
    mpp_source
        Where `mpp` is from: "flag" or "manifest".

    Raises
    ------
    SlideNotFoundError
        If there is no such file.
    SlideReadError
        If it is corrupt, truncated, empty, or of a format that no library knows.
    UnsupportedSlideError
        If its pixels are of a kind that cannot be used.
    ResolutionError
        If its mpp is not plausible or its pixels are not square, and `mpp` is not given.
    """
    start = _first_bytes(path)
    if reader == "openslide":
        return OpenSlideReader(path, mpp, mpp_source)
    if reader == "tiffslide":
        return _tiffslide(path, mpp, mpp_source)
    try:
        return OpenSlideReader(path, mpp, mpp_source)
    except SlideReadError as error:
        if start not in _TIFF_STARTS:
            msg = f"{path} is corrupt or not a slide: {error.__cause__}"
            raise SlideReadError(msg) from error
        first = error
    try:
        return _tiffslide(path, mpp, mpp_source)
    except SlideReadError as error:
        msg = (
            f"{path} is corrupt, truncated or of an unknown format. OpenSlide: {first.__cause__}. "
            f"TiffSlide: {error.__cause__}"
        )
        raise SlideReadError(msg) from error


def _tiffslide(path: Path, mpp: float | None, mpp_source: str) -> SlideReader:
    # Imported only where needed: it loads tifffile, zarr and fsspec.
    from wsi_specdec.slides.tiffslide_reader import TiffSlideReader

    return TiffSlideReader(path, mpp, mpp_source)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            start = handle.read(4)
    except FileNotFoundError as error:
        msg = f"no such slide: {path}"
        raise SlideNotFoundError(msg) from error
    except OSError as error:
        msg = f"cannot read the slide {path}: {error.strerror}"
        raise SlideReadError(msg) from error
    if not start:
        msg = f"the slide {path} is empty (0 bytes); copy it again"
        raise SlideReadError(msg)
    return start
