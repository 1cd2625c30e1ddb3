import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.images import Picture
from wsi_specdec.packing import to_square


def halves(height: int, width: int) -> NDArray[np.uint8]:
    """Left half black, right half 200."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[:, width // 2 :] = 200
    return pixels


def test_a_square_of_the_size_is_kept() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.array_equal(to_square(Picture(rgb), 8, "pad", 0), rgb)


def test_grey_becomes_three_equal_channels() -> None:
    tile = to_square(Picture(halves(8, 8)), 8, "pad", 0)
    assert tile.shape == (8, 8, 3)
    assert (tile == halves(8, 8)[..., None]).all()


def test_pixels_are_averaged_where_it_shrinks() -> None:
    board = np.indices((16, 16)).sum(axis=0) % 2 * 200
    tile = to_square(Picture(board.astype(np.uint8)), 4, "pad", 0)
    assert (tile == 100).all()


@pytest.mark.parametrize(("height", "width"), [(16, 8), (8, 16)])
def test_pad_keeps_all_and_puts_a_margin_at_both_sides(height: int, width: int) -> None:
    tile = to_square(Picture(np.full((height, width), 200, np.uint8)), 8, "pad", 7)
    tile = tile if height > width else tile.swapaxes(0, 1)
    assert (tile[:, 2:6] == 200).all()
    assert (tile[:, :2] == 7).all()
    assert (tile[:, 6:] == 7).all()


def test_crop_takes_the_middle() -> None:
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 200
    assert (to_square(Picture(pixels), 8, "crop", 0) == 200).all()
    assert (to_square(Picture(pixels.T), 4, "crop", 0) == 200).all()


def test_stretch_takes_all_out_of_proportion() -> None:
    tile = to_square(Picture(halves(8, 32)), 8, "stretch", 0)
    assert (tile[:, :4] == 0).all()
    assert (tile[:, 4:] == 200).all()


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_pixels_that_are_not_square_are_made_so(fit: str) -> None:
    # Rows twice as far apart as columns: 8 by 16 pixels are a square.
    tile = to_square(Picture(halves(8, 16), pixel_aspect=2.0), 16, fit, 99)  # type: ignore[arg-type]
    assert (tile[:, :8] == 0).all()
    assert (tile[:, 8:] == 200).all()


def test_sixteen_bits_are_rounded_to_the_nearest_of_eight() -> None:
    pixels = np.array([[0, 128], [129, 65535]], np.uint16)
    # 257 levels of 16 bits make one of 8.
    assert to_square(Picture(pixels), 2, "pad", 0)[..., 0].tolist() == [[0, 0], [1, 255]]


def test_small_images_are_interpolated() -> None:
    pixels = np.array([[0, 100], [0, 100]], np.uint8)
    row = to_square(Picture(pixels), 8, "pad", 0)[0, :, 0].astype(int)
    assert row[0] == 0
    assert row[-1] == 100
    assert (np.diff(row) >= 0).all()
    assert len(set(row)) > 2


def test_a_sliver_keeps_a_pixel() -> None:
    tile = to_square(Picture(np.full((1000, 2), 200, np.uint8)), 8, "pad", 0)
    assert (tile == 200).any(axis=(1, 2)).all()


def test_crop_counts_in_pixels_of_one_shape() -> None:
    # 8 rows twice as far apart as columns are as high as 16 columns are wide.
    pixels = halves(8, 8).T.repeat(4, axis=1)
    tile = to_square(Picture(pixels, pixel_aspect=2.0), 16, "crop", 0)
    assert (tile[:7] == 0).all()
    assert (tile[9:] == 200).all()
