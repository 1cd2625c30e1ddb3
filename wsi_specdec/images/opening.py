"""Which files are images, and which reader opens one."""

from pathlib import Path
from typing import Final

from wsi_specdec.errors import ImageError, ManifestError
from wsi_specdec.images.base import BurntIn, Picture
from wsi_specdec.images.plain import open_plain

IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom"})
_DICOM_SUFFIXES: Final = frozenset({".dcm", ".dicom"})
_PREAMBLE: Final = 128
_DICOM_MARK: Final = b"DICM"


def open_image(path: Path, *, burnt_in: BurntIn = "refuse") -> Picture:
    """Open an image and decode it, told by its content, not by its name.

    Parameters
    ----------
    path
        PNG, JPEG, TIFF or DICOM.
    burnt_in
        What is done with a DICOM image whose header says that its pixels hold annotations, which
        may name the patient.

    Raises
    ------
    ImageError
        If it is missing, corrupt, of an unknown format, too large, of several frames, of pixels
        that are not supported, or refused for burnt-in annotations.
    """
    if not path.is_file():
        msg = f"no such image: {path}"
        raise ImageError(msg)
    if is_dicom(path):
        # Imported only where there is one: pydicom takes a while to load.
        from wsi_specdec.images.dicom import open_dicom

        return open_dicom(path, burnt_in=burnt_in)
    if path.suffix.lower() in _DICOM_SUFFIXES:
        msg = f"{path} is no DICOM file (its mark is missing); export it again as DICOM part 10"
        raise ImageError(msg)
    return open_plain(path)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do; their names often have no suffix."""
    try:
        with path.open("rb") as handle:
            return handle.read(_PREAMBLE + len(_DICOM_MARK))[_PREAMBLE:] == _DICOM_MARK
    except OSError:
        return False


def find_images(folder: Path) -> list[Path]:
    """Find the images directly within a folder, by name, hidden files passed over.

    Files of other suffixes, or of none, count where they begin as DICOM files do.

    Raises
    ------
    ManifestError
        If the folder cannot be read.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        msg = f"cannot read the folder {folder}: {error.strerror}"
        raise ManifestError(msg) from error
    return [
        entry
        for entry in entries
        if entry.is_file() and (entry.suffix.lower() in IMAGE_SUFFIXES or is_dicom(entry))
    ]
