"""Open a slide, its levels and mpp, read a region: one protocol, one file per reader."""

from wsi_specdec.slides.base import SlideInfo, SlideReader
from wsi_specdec.slides.opening import open_slide
from wsi_specdec.slides.overview import read_overview

__all__ = ["SlideInfo", "SlideReader", "open_slide", "read_overview"]
