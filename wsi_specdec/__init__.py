"""From whole-slide images to slide-level cancer calls, trained with spectral decoupling."""

__version__ = "0.1.0"
