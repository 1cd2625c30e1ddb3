from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.geometry import Box
from wsi_specdec.tiling import grid_coords


@given(
    x=st.integers(0, 50),
    y=st.integers(0, 50),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.integers(1, 60),
    stride=st.integers(1, 60),
)
def test_tiles_lie_within_bounds_in_order_and_none_is_missing(
    x: int, y: int, width: int, height: int, size: int, stride: int
) -> None:
    found = grid_coords(Box(x, y, width, height), size, stride).tolist()
    expected = [
        [x + column * stride, y + row * stride]
        for row in range(300)
        for column in range(300)
        if column * stride + size <= width and row * stride + size <= height
    ]
    assert found == expected


def test_a_slide_smaller_than_a_tile_has_none() -> None:
    coords = grid_coords(Box(0, 0, 255, 1000), 256, 256)
    assert coords.shape == (0, 2)
    assert coords.dtype == "int64"
