import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from wsi_specdec.config import TissueConfig
from wsi_specdec.tissue import find_tissue
from wsi_specdec.tissue.threshold import otsu, root_of, signal_threshold


def histogram(*groups: tuple[float, float, int]) -> NDArray[np.float64]:
    """Counts of normal deviates: mean and standard deviation in optical density, number."""
    rng = np.random.default_rng(0)
    density = np.concatenate([rng.normal(mean, sd, n) for mean, sd, n in groups]).clip(0)
    values = np.minimum(root_of(1.0) * np.sqrt(density), 255).astype(np.uint8)
    return np.bincount(values, minlength=256).astype(np.float64)


@given(seed=st.integers(0, 9999), filled=st.integers(2, 256))
@settings(max_examples=40, deadline=None)
def test_otsu_is_scikit_images(seed: int, filled: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.zeros(256)
    counts[rng.choice(256, filled, replace=False)] = rng.integers(1, 1000, filled)
    cut, clearness = otsu(counts)
    expected = threshold_otsu(hist=(counts, np.arange(256)))  # type: ignore[no-untyped-call]

    def spread(at: int) -> float:
        values, total = np.arange(256), counts.sum()
        low, high = counts[: at + 1], counts[at + 1 :]
        means = (low @ values[: at + 1] / low.sum(), high @ values[at + 1 :] / high.sum())
        return float(low.sum() * high.sum() / total**2 * (means[0] - means[1]) ** 2)

    assert spread(cut) == pytest.approx(spread(int(expected)))
    mean = counts @ np.arange(256) / counts.sum()
    variance = counts @ (np.arange(256) - mean) ** 2 / counts.sum()
    assert clearness == pytest.approx(spread(cut) / variance)


def test_one_value_alone_is_not_split() -> None:
    counts = np.zeros(256)
    counts[40] = 7
    assert otsu(counts) == (40, 0.0)


def test_the_threshold_lies_between_glass_and_tissue_and_within_its_bounds() -> None:
    counts = histogram((0.01, 0.01, 60_000), (0.4, 0.1, 40_000))
    assert 0.05 < signal_threshold(counts, 0.02, 0.9) < 0.25
    assert signal_threshold(counts, 0.02, 0.06) == 0.06
    assert signal_threshold(histogram((0.01, 0.01, 9)), 0.05, 0.25) == 0.05


def test_faint_tissue_is_split_from_glass_once_more() -> None:
    counts = histogram((0.005, 0.002, 50_000), (0.12, 0.02, 20_000), (1.1, 0.1, 30_000))
    assert signal_threshold(counts, 0.02, 0.9) < 0.08


def test_tissue_alone_takes_the_lower_bound_and_nothing_the_upper() -> None:
    assert signal_threshold(histogram((0.2, 0.03, 50_000), (0.7, 0.1, 50_000)), 0.05, 0.25) == 0.05
    assert signal_threshold(np.zeros(256), 0.05, 0.25) == 0.25


@pytest.mark.parametrize(("fixed", "expected"), [(0.05, True), (0.2, False)])
def test_a_fixed_threshold_is_taken_as_it_is(fixed: float, expected: bool) -> None:
    image = np.full((200, 200, 3), 240, np.uint8)
    # An optical density of 0.097 in green, none in red and blue.
    image[50:150, 50:150, 1] = 192
    config = TissueConfig(method="threshold", fixed_threshold=fixed, keep_fatty=False)
    found = find_tissue(image, 8.0, config)
    assert found[60:140, 60:140].all() == expected
    assert found.any() == expected
