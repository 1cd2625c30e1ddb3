"""DICOM images of one frame, from the file to what a screen shows.

No message quotes a value of the header, and no error of a library is chained: either could name
the patient, and messages are written to ledgers and logs.
"""

import warnings
from pathlib import Path
from typing import Any, Final, NoReturn, cast, get_args

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi
from pydicom.uid import RLELossless

from wsi_specdec.errors import ImageError
from wsi_specdec.images.base import BurntIn, Picture, Pixels, check_aspect, check_size
from wsi_specdec.images.display import (
    Values,
    WindowFunction,
    ranged,
    sixteen_bit,
    stored_values,
    upright,
    windowed,
)
from wsi_specdec.images.frames import decode_frame, is_decodable

_GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR: Final = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
# The terms of View Position (DICOM PS3.3 C.8.1.2 and C.8.11.5); other text is not passed on.
_VIEWS: Final = frozenset({"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO"})


def open_dicom(path: Path, *, burnt_in: BurntIn = "refuse") -> Picture:
    """Open a DICOM image of one frame, of 8 to 16 bits a value.

    Stored values go through the modality's rescale or table, then through the first window or
    table for display (without one, from the lowest value to the highest, padding left out);
    MONOCHROME1 is inverted; Patient Orientation turns the image upright.

    Parameters
    ----------
    burnt_in
        What is done with an image whose header says that its pixels hold annotations.

    Raises
    ------
    ImageError
        If it is corrupt, of several frames, of other bits or colours, compressed in a way that
        cannot be decoded, or refused for burnt-in annotations.
    """
    with warnings.catch_warnings():
        # Of pydicom, on values that it finds odd, which it quotes.
        warnings.simplefilter("ignore")
        try:
            # Without pixels first: a slide in DICOM has gigabytes of them.
            _check(pydicom.dcmread(path, stop_before_pixels=True), path, burnt_in)
            return _picture(pydicom.dcmread(path), path)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is means the file
            _refuse_corrupt(path, error)


def _refuse_corrupt(path: Path, error: Exception) -> NoReturn:
    msg = (
        f"{path} is DICOM that cannot be read ({type(error).__name__}): it is corrupt or cut off; "
        "export it again or leave it out"
    )
    raise ImageError(msg) from None


def _check(header: Dataset, path: Path, burnt_in: BurntIn) -> None:
    """Refuse by the header what cannot be used."""
    photometric = str(header.get("PhotometricInterpretation", "none"))
    samples, allocated = header.get("SamplesPerPixel", 1), header.get("BitsAllocated", 0)
    stored, frames = header.get("BitsStored", 0), int(header.get("NumberOfFrames") or 1)
    if "Rows" not in header or "Columns" not in header:
        msg = f"{path} holds no image (a DICOM report, plan or waveform): leave it out"
        raise ImageError(msg)
    check_size(int(header.Columns), int(header.Rows), path)
    if frames > 1:
        msg = (
            f"{path} has {frames} frames: write the one that is meant as a file of its own; a "
            "slide in DICOM is for `wsi-specdec tile`"
        )
        raise ImageError(msg)
    if allocated not in {8, 16} or not 2 <= stored <= allocated:
        msg = f"{path} has {stored} bits a value in {allocated}; 8 to 16 can be used: convert it"
        raise ImageError(msg)
    if photometric not in (_GREY if samples == 1 else _COLOUR if samples == 3 else ()):
        msg = (
            f"{path} has a photometric interpretation, or a number of samples, that cannot be "
            f"used; {', '.join(sorted(_GREY | _COLOUR))} can: convert it"
        )
        raise ImageError(msg)
    if burnt_in == "refuse" and header.get("BurnedInAnnotation") == "YES":
        msg = (
            f"{path} states that its pixels hold burnt-in annotations, which may name the patient "
            "or give the class away: remove them, or allow them with --burnt-in keep"
        )
        raise ImageError(msg)
    syntax = header.file_meta.TransferSyntaxUID
    if not is_decodable(syntax):
        msg = (
            f"{path} is compressed as {syntax.name}, for which there is no decoder here: "
            "decompress it first, for one with dcmtk's dcmdjpeg"
        )
        raise ImageError(msg)


def _picture(dataset: Dataset, path: Path) -> Picture:
    raw = decode_frame(dataset)
    shown = _grey(dataset, raw) if raw.ndim == 2 else _colour(dataset, raw)
    turned, exchanged = upright(shown, _texts(dataset, "PatientOrientation"))
    aspect = check_aspect(_aspect(dataset), path)
    view = str(dataset.get("ViewPosition", "") or "").strip().upper()
    return Picture(
        pixels=turned,
        pixel_aspect=1 / aspect if exchanged else aspect,
        patient_id=str(dataset.get("PatientID", "") or "").strip() or None,
        view=view if view in _VIEWS else None,
    )


def _grey(dataset: Dataset, raw: Pixels) -> NDArray[np.uint16]:
    stored = stored_values(
        raw,
        dataset.BitsStored,
        _high_bit(dataset, raw),
        signed=dataset.get("PixelRepresentation", 0) == 1,
    )
    used = ~_padding(dataset, stored)
    shown = _for_display(dataset, apply_modality_lut(stored, dataset), used)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return sixteen_bit(np.where(used, shown, np.float32(0)))


def _high_bit(dataset: Dataset, raw: Pixels) -> int:
    """Return the highest bit of the values; codecs lay them at the lower end of the cells."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax != RLELossless:
        return int(dataset.BitsStored) - 1
    return min(int(dataset.get("HighBit", dataset.BitsStored - 1)), 8 * raw.dtype.itemsize - 1)


def _colour(dataset: Dataset, raw: Pixels) -> Pixels:
    if raw.dtype == np.uint8:
        return raw
    white = (1 << dataset.BitsStored) - 1
    return sixteen_bit(np.asarray(np.clip(raw / white, 0, 1), np.float32))


def _for_display(dataset: Dataset, values: NDArray[Any], used: NDArray[np.bool_]) -> Values:
    """Apply the first table or window for display, giving 0 to 1."""
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        looked_up = apply_voi(np.rint(values).astype(np.int32), dataset)
        return np.asarray(looked_up / np.float32((1 << bits) - 1), np.float32)
    numbers = np.asarray(values, np.float32)
    centre, width = (_first_number(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return ranged(numbers, used)
    function = str(dataset.get("VOILUTFunction", "")).upper()
    known = function if function in get_args(WindowFunction) else "LINEAR"
    return windowed(numbers, centre, width, cast("WindowFunction", known))


def _padding(dataset: Dataset, stored: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which cells are no part of the image but fill it up (DICOM PS3.3 C.7.5.1.1.2)."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(limit)))
    return (stored >= low) & (stored <= high)


def _aspect(dataset: Dataset) -> float:
    """Height of a pixel by its width; both kinds of spacing name rows' distance first."""
    for name in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        values = dataset.get(name)
        if values is not None and len(values) == 2 and min(map(float, values)) > 0:
            return float(values[0]) / float(values[1])
    return 1.0


def _first_number(dataset: Dataset, name: str) -> float | None:
    value = dataset.get(name)
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)


def _texts(dataset: Dataset, name: str) -> list[str]:
    value = dataset.get(name) or ()
    return [str(text) for text in ([value] if isinstance(value, str) else value)]
