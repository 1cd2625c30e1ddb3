import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.stain import StainProfile, normalise
from wsi_specdec.studies.spurious.marks import (
    cornered,
    marked,
    recompressed,
    sharpened,
    stain_shifted,
)

TILES: NDArray[np.uint8] = np.random.default_rng(0).integers(40, 216, (3, 16, 16, 3), np.uint8)


def test_sharpening_leaves_flat_tiles_and_heightens_edges() -> None:
    flat = np.full((1, 8, 8, 3), 120, np.uint8)
    assert np.array_equal(sharpened(flat, 2.0), flat)
    edge = np.full((1, 8, 8, 3), 100, np.uint8)
    edge[:, :, 4:] = 150
    sharp = sharpened(edge, 0.5)
    assert sharp[0, 4, 3, 0] < 100
    assert sharp[0, 4, 4, 0] > 150
    assert np.array_equal(sharpened(TILES, 0.0), TILES)


def test_sharpening_grows_with_its_amount_and_is_clipped() -> None:
    change = [np.abs(sharpened(TILES, a).astype(int) - TILES).mean() for a in (0.2, 0.5, 1.0)]
    assert change == sorted(change)
    assert change[0] > 0
    assert sharpened(TILES, 50.0).min() == 0


def profile(haematoxylin: float, eosin: float) -> StainProfile:
    return StainProfile(
        method="macenko",
        stain_matrix=((0.65, 0.704, 0.286), (0.072, 0.99, 0.105)),
        max_concentrations=(haematoxylin, eosin),
        min_od=0.15,
        status="ok",
        n_pixels=1000,
    )


def test_stains_are_moved_a_part_of_the_way() -> None:
    source, target = profile(1.0, 1.0), profile(2.0, 1.5)
    whole = normalise(TILES, source, target)
    assert np.array_equal(stain_shifted(TILES, source, target, 1.0), whole)
    assert np.array_equal(stain_shifted(TILES, source, target, 0.0), TILES)
    half = stain_shifted(TILES, source, target, 0.5).astype(float)
    assert np.abs(half - (whole.astype(float) + TILES) / 2).max() <= 0.5
    assert not np.array_equal(whole, TILES)


def test_jpeg_costs_more_at_lower_quality() -> None:
    before = TILES.copy()
    loss = [np.abs(recompressed(TILES, q).astype(int) - TILES).mean() for q in (95, 60, 20)]
    assert 0 < loss[0] < loss[1] < loss[2]
    assert np.array_equal(TILES, before)
    assert np.array_equal(recompressed(TILES, 60), recompressed(TILES, 60))


def test_a_corner_is_all_that_changes() -> None:
    out = cornered(TILES, 3, (1, 2, 3))
    assert (out[:, 2:5, 2:5] == (1, 2, 3)).all()
    changed = (out != TILES).any(axis=3)
    assert changed.sum() == 3 * 9
    assert (TILES >= 40).all()


@pytest.mark.parametrize(
    ("probability", "setting", "of_positive", "of_negative"),
    [
        (0.9, "trained", 36, 6),
        (0.9, "independent", 20, 30),
        (0.9, "reversed", 4, 54),
        (1.0, "trained", 40, 0),
        (1.0, "reversed", 0, 60),
        (0.5, "trained", 20, 30),
    ],
)
def test_marks_go_with_the_class_in_exact_shares(
    probability: float, setting: str, of_positive: int, of_negative: int
) -> None:
    label = np.arange(100) % 5 < 2
    carried = marked(label.astype(np.int64), probability, setting, 3)  # type: ignore[arg-type]
    assert carried[label].sum() == of_positive
    assert carried[~label].sum() == of_negative


def test_marks_are_drawn_by_the_seed() -> None:
    label = np.arange(50) % 2
    first, again, other = (marked(label, 0.8, "trained", seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(ValueError, match=r"got 1\.2"):
        marked(label, 1.2, "trained", 0)
