"""Opens images that are no slides: radiographs and patches as PNG, JPEG, TIFF or DICOM."""

from wsi_specdec.images.base import BurntIn, Picture
from wsi_specdec.images.opening import IMAGE_SUFFIXES, find_images, is_dicom, open_image

__all__ = [
    "IMAGE_SUFFIXES",
    "BurntIn",
    "Picture",
    "find_images",
    "is_dicom",
    "open_image",
]
