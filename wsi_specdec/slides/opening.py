"""Chooses the reader of a slide."""

from pathlib import Path

from wsi_specdec.config import ReaderName
from wsi_specdec.errors import SlideNotFoundError, SlideReadError
from wsi_specdec.slides.base import SlideReader
from wsi_specdec.slides.dicom import slide_file
from wsi_specdec.slides.metadata import MppGiven
from wsi_specdec.slides.openslide_reader import OpenSlideReader

# Classic, NDPI and BigTIFF, either byte order.
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff")


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
        The slide's file, or the folder of one DICOM slide.
    reader
        What reads it; "auto" takes our own reader for a PNG or JPEG picture, else OpenSlide, and
        TiffSlide for a TIFF that OpenSlide cannot open.
    mpp
        µm per level-0 pixel that overrides the metadata.
    mpp_source
        Where `mpp` is from: "flag" or "manifest".

    Raises
    ------
    SlideNotFoundError
        If there is no such file.
    SlideReadError
        If it is corrupt, truncated, empty, not ours to read, or of a format that no library knows.
    UnsupportedSlideError
        If its pixels are of a kind that cannot be used, or it is too large for its format.
    ResolutionError
        If its mpp is not plausible or its pixels are not square, and `mpp` is not given.
    """
    if path.is_dir():
        path = slide_file(path)
    start = _first_bytes(path)
    given = MppGiven(mpp, mpp_source)
    if reader != "auto":
        return _OPENERS[reader](path, given)
    if start.startswith(_PICTURE_STARTS):
        return _image(path, given)
    return _openslide_or_tiffslide(path, given, is_tiff=start in _TIFF_STARTS)


def _openslide_or_tiffslide(path: Path, given: MppGiven, *, is_tiff: bool) -> SlideReader:
    try:
        return OpenSlideReader(path, given)
    except SlideReadError as error:
        if not is_tiff:
            msg = (
                f"{path} is corrupt or not a slide. OpenSlide: {error.__cause__}. Only TIFFs are "
                "tried with TiffSlide, and PNG and JPEG read by our own reader"
            )
            raise SlideReadError(msg) from error
        first = error
    try:
        return _tiffslide(path, given)
    except SlideReadError as error:
        msg = (
            f"{path} is corrupt, truncated or of an unknown format: copy it again or convert it. "
            f"OpenSlide: {first.__cause__}. TiffSlide: {error.__cause__}"
        )
        raise SlideReadError(msg) from error


def _tiffslide(path: Path, given: MppGiven) -> SlideReader:
    # Imported only where needed: it loads tifffile, zarr and fsspec.
    from wsi_specdec.slides.tiffslide_reader import TiffSlideReader

    return TiffSlideReader(path, given)


def _image(path: Path, given: MppGiven) -> SlideReader:
    from wsi_specdec.slides.plain_reader import PlainReader

    return PlainReader(path, given)


_OPENERS = {"openslide": OpenSlideReader, "tiffslide": _tiffslide, "image": _image}


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
