"""Whether an image is brightfield: glass is bright, and fluorescence has a dark background."""

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import FluorescenceError

_DARK = 60
_BRIGHT = 150
_MAX_DARK_SHARE = 0.5
_MIN_BRIGHT_SHARE = 0.02


def check_brightfield(image: NDArray[np.uint8]) -> None:
    """Refuse an image of a slide that is not brightfield.

    Most of a fluorescence image is dark in every channel and next to nothing is bright in all
    three. Both must hold: black padding around a scanned area leaves its glass bright.

    Parameters
    ----------
    image
        Overview of the whole slide, (h, w, 3) uint8 RGB.

    Raises
    ------
    FluorescenceError
        If the background is dark.
    """
    dark = float((brightest_channel(image) < _DARK).mean())
    bright = float((darkest_channel(image) > _BRIGHT).mean())
    if dark > _MAX_DARK_SHARE and bright < _MIN_BRIGHT_SHARE:
        msg = (
            f"looks like fluorescence: dark background ({dark:.0%} of the slide is dark, "
            f"{bright:.1%} bright); only brightfield slides such as H&E are supported"
        )
        raise FluorescenceError(msg)


def brightest_channel(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the highest of a pixel's three values: (h, w) of (h, w, 3)."""
    # Plane by plane: numpy's reduction over an axis of three is several times slower.
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def darkest_channel(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the lowest of a pixel's three values: (h, w) of (h, w, 3)."""
    return np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2])
