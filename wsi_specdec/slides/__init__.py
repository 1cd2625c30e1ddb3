"""Open a slide, its levels and mpp, read a region: one protocol, one file per reader."""

from wsi_specdec.slides.base import SlideInfo, SlideReader
from wsi_specdec.slides.dicom import slide_file
from wsi_specdec.slides.discovery import FoundSlide, find_slides
from wsi_specdec.slides.encoded import EncodedLevel
from wsi_specdec.slides.encoded_levels import encoded_level, locate_encoded, slide_fingerprint
from wsi_specdec.slides.opening import open_slide
from wsi_specdec.slides.overview import read_overview

__all__ = [
    "EncodedLevel",
    "FoundSlide",
    "SlideInfo",
    "SlideReader",
    "encoded_level",
    "find_slides",
    "locate_encoded",
    "open_slide",
    "read_overview",
    "slide_file",
    "slide_fingerprint",
]
