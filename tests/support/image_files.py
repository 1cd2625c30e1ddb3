"""Images that tests make: noise, and radiographs in DICOM of any kind, named after a patient."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PATIENT_NAME = "Doe^Josephine^Secret"
PATIENT_ID = "HOSPITAL-NUMBER-4711"
BIRTH_DATE = "19370503"


def dicom_dataset(pixels: NDArray[Any], **changes: object) -> FileDataset:
    """Make a radiograph of grey (h, w) or RGB (h, w, 3) cells, as stored.

    `changes` are elements of the header; those that are None are left out.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.PatientBirthDate = BIRTH_DATE
    bits = 8 * pixels.dtype.itemsize
    values: dict[str, object] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "DX",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1 if pixels.ndim == 2 else 3,
        "PlanarConfiguration": None if pixels.ndim == 2 else 0,
        "PhotometricInterpretation": "MONOCHROME2" if pixels.ndim == 2 else "RGB",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }
    for name, value in (values | changes).items():
        if value is not None:
            setattr(dataset, name, value)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return dataset


def write_dicom(path: Path, pixels: NDArray[Any], **changes: object) -> Path:
    """Write what `dicom_dataset` makes, and return the path."""
    dicom_dataset(pixels, **changes).save_as(path, enforce_file_format=True)
    return path


def ramp(height: int = 8, width: int = 16, top: int = 4095) -> NDArray[np.uint16]:
    """Cells from 0 to `top` that tell every place from every other: (height, width)."""
    count = height * width
    return np.linspace(0, top, count).astype(np.uint16).reshape(height, width)


def save_grey(path: Path, seed: int, height: int = 40, width: int = 30) -> Path:
    """Write a grey picture of noise, of its own by `seed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    Image.fromarray(pixels).save(path)
    return path
