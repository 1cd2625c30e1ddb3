import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.errors import UnsupportedSlideError
from wsi_specdec.tissue import check_brightfield


def flat(*colour: int) -> NDArray[np.uint8]:
    return np.full((200, 300, 3), colour, dtype=np.uint8)


def test_fluorescence_is_refused_even_with_bright_signal_in_one_channel() -> None:
    image = flat(0, 0, 8)
    image[50:130, 100:220] = (5, 4, 255)
    with pytest.raises(UnsupportedSlideError, match=r"looks like fluorescence: dark background"):
        check_brightfield(image)


def test_black_image_is_refused() -> None:
    with pytest.raises(UnsupportedSlideError, match="brightfield"):
        check_brightfield(flat(0, 0, 0))


@pytest.mark.parametrize("colour", [(243, 243, 243), (120, 60, 130), (215, 130, 170)])
def test_glass_and_tissue_pass(colour: tuple[int, int, int]) -> None:
    check_brightfield(flat(*colour))


def test_black_padding_around_a_small_scanned_area_passes() -> None:
    image = flat(0, 0, 0)
    image[80:130, 100:180] = (240, 238, 241)
    image[95:115, 120:160] = (130, 70, 140)
    check_brightfield(image)
