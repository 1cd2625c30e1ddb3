"""PNG, JPEG and TIFF images, by Pillow."""

import warnings
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from wsi_specdec.errors import ImageError
from wsi_specdec.images.base import Picture, Pixels, check_size, full_range

# The only parsers that may see a file.
_FORMATS: Final = ("PNG", "JPEG", "TIFF")
_GREY: Final = frozenset({"1", "L"})
_SIXTEEN_BIT: Final = frozenset({"I;16", "I;16B", "I;16L"})
_COLOUR: Final = frozenset({"RGB"})
# Modes that may be transparent, which then shows white.
_LAYERED: Final = frozenset({"LA", "P", "PA", "RGBA"})
_USABLE: Final = _GREY | _SIXTEEN_BIT | _COLOUR | _LAYERED


def open_plain(path: Path) -> Picture:
    """Open a PNG, JPEG or TIFF and turn it upright by its EXIF orientation.

    Grey of 16 bits is stretched to the whole range; colour of 16 bits is read as 8.

    Raises
    ------
    ImageError
        If it is of another format, corrupt, too large, of several pages, or of pixels that are
        neither grey nor RGB (CMYK, float, 32-bit).
    """
    with warnings.catch_warnings():
        # Of Pillow, on odd metadata and on large images: the limit is ours.
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=_FORMATS) as image:
                _check(image, path)
                upright = ImageOps.exif_transpose(image)
                return Picture(_pixels(upright))
        except (ImageError, MemoryError):
            raise
        # Pillow's parsers and decoders raise what they like; all of it means the file.
        except Exception as error:
            msg = f"{path} is no readable PNG, JPEG or TIFF ({error}); replace it or leave it out"
            raise ImageError(msg) from error


def _check(image: Image.Image, path: Path) -> None:
    check_size(*image.size, path)
    pages = getattr(image, "n_frames", 1)
    # Telephones put thumbnails behind a JPEG.
    if pages > 1 and image.format in {"PNG", "TIFF"}:
        msg = f"{path} holds {pages} pages; write the one that is meant as a file of its own"
        raise ImageError(msg)
    if image.mode not in _USABLE:
        msg = (
            f"{path} has pixels of the kind {image.mode}; only grey of 8 or 16 bits, palette, RGB "
            "and RGBA can be used: convert it"
        )
        raise ImageError(msg)


def _pixels(image: Image.Image) -> Pixels:
    if image.mode in _SIXTEEN_BIT:
        return full_range(np.asarray(image).astype(np.uint16))
    if image.mode in _LAYERED or "transparency" in image.info:
        return _on_white(image)
    return np.array(image.convert("L" if image.mode in _GREY else "RGB"))


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    return np.array(Image.alpha_composite(white, layered).convert("RGB"))
