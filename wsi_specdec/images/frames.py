"""Decodes the one frame of a DICOM image, whichever way it is compressed."""

from typing import Final, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.encaps import get_frame
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import pixel_array

from wsi_specdec.images.base import Pixels

_DCT: Final = frozenset({uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit})
_LOSSLESS_JPEG: Final = frozenset({uid.JPEGLossless, uid.JPEGLosslessSV1})
_JPEG_LS: Final = frozenset({uid.JPEGLSLossless, uid.JPEGLSNearLossless})
_JPEG_2000: Final = frozenset(
    {uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
)
_YBR_FULL: Final = frozenset({"YBR_FULL", "YBR_FULL_422"})
_END_OF_IMAGE: Final = b"\xff\xd9"
# Frames are padded to an even length, by some writers to more.
_PADDING: Final = 16


def is_decodable(transfer_syntax: uid.UID) -> bool:
    """Whether there is a decoder for how an image is compressed."""
    return not transfer_syntax.is_compressed or transfer_syntax in {
        uid.RLELossless,
        *_DCT,
        *_LOSSLESS_JPEG,
        *_JPEG_LS,
        *_JPEG_2000,
    }


def decode_frame(dataset: Dataset) -> Pixels:
    """Decode the cells of a grey image (h, w), or an RGB image (h, w, 3), uint8 or uint16.

    What a cell's bits mean is for `stored_values` to say; of compressed images the highest bit of
    the value is the highest that is stored.

    Raises
    ------
    ValueError
        If the frame is cut off or of another size than the header says, and whatever else the
        decoders raise.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == uid.RLELossless:
        return _unsigned(pixel_array(dataset))
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if _END_OF_IMAGE not in frame[-_PADDING:]:
        msg = "its compressed pixels are cut off"
        raise ValueError(msg)
    pixels = _decompress(frame, syntax, dataset)
    shape = (dataset.Rows, dataset.Columns, 3)[: 2 if dataset.SamplesPerPixel == 1 else 3]
    if pixels.shape != shape:
        msg = f"its compressed pixels are {pixels.shape} where the header says {shape}"
        raise ValueError(msg)
    return pixels


def _decompress(frame: bytes, syntax: uid.UID, dataset: Dataset) -> Pixels:
    ybr = dataset.PhotometricInterpretation in _YBR_FULL
    if syntax in _DCT:
        if dataset.SamplesPerPixel == 1:
            return _unsigned(imagecodecs.jpeg8_decode(frame))
        stored = "YCBCR" if dataset.PhotometricInterpretation.startswith("YBR") else "RGB"
        return _unsigned(imagecodecs.jpeg8_decode(frame, colorspace=stored, outcolorspace="RGB"))
    if syntax in _LOSSLESS_JPEG:
        pixels = imagecodecs.jpegsof3_decode(frame)
    elif syntax in _JPEG_LS:
        pixels = imagecodecs.jpegls_decode(frame)
    else:
        pixels = imagecodecs.jpeg2k_decode(frame)
    pixels = _unsigned(pixels)
    return _unsigned(convert_color_space(pixels, "YBR_FULL", "RGB")) if ybr else pixels


def _unsigned(pixels: NDArray[np.generic]) -> Pixels:
    """Return the same bits without a sign, in this machine's order; grey has no third axis."""
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return cast("Pixels", pixels.view(np.dtype(f"u{pixels.dtype.itemsize}")))
