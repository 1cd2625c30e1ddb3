import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_specdec.tissue import area_fractions, coverage, tissue_fractions


@given(
    seed=st.integers(0, 2**16),
    scale=st.integers(1, 9),
    size=st.integers(1, 60),
    x=st.integers(-20, 80),
    y=st.integers(-20, 80),
)
@settings(max_examples=60, deadline=None)
def test_equals_counting_level0_pixels(seed: int, scale: int, size: int, x: int, y: int) -> None:
    mask = np.random.default_rng(seed).random((7, 9)) < 0.5
    canvas = np.zeros((300, 300), dtype=bool)
    full = np.kron(mask, np.ones((scale, scale), dtype=bool))
    canvas[100 : 100 + full.shape[0], 100 : 100 + full.shape[1]] = full
    expected = canvas[100 + y : 100 + y + size, 100 + x : 100 + x + size].mean()
    (found,) = tissue_fractions(mask, float(scale), np.array([[x, y]]), size)
    assert found == pytest.approx(expected, abs=1e-6)


def test_fractional_mask_pixels_are_exact() -> None:
    mask = np.array([[False, True, False]])
    # The marked square spans x from 2.5 to 5; a tile from 3 to 7 has half of its width in it.
    (found,) = tissue_fractions(mask, 2.5, np.array([[3, 0]]), 4)
    assert found == pytest.approx(2 * 2.5 / 16)


def test_mask_pixels_need_not_be_square() -> None:
    mask = np.array([[True, False], [False, False]])
    (found,) = area_fractions(mask, (10.0, 20.0), np.array([[0, 0]]), 20)
    assert found == pytest.approx(0.5)


def test_no_tiles_and_dtypes() -> None:
    found = tissue_fractions(np.ones((2, 2), bool), 4.0, np.empty((0, 2), np.int64), 4)
    assert found.shape == (0,)
    assert found.dtype == np.float32


@pytest.mark.parametrize("in_order", [True, False])
def test_many_tiles_are_covered_as_each_alone(
    in_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((70, 50)) < 0.5
    coords = rng.integers(-30, 330, (500, 2))
    if in_order:
        coords = coords[np.lexsort(coords.T)]
    alone = [tissue_fractions(mask, 4.3, coords[i : i + 1], 19)[0] for i in range(500)]
    monkeypatch.setattr(coverage, "_TILES_AT_ONCE", 64)
    assert tissue_fractions(mask, 4.3, coords, 19) == pytest.approx(np.array(alone), abs=1e-6)
