"""The sparse factorisation finds what a mixture was made of, and is as good as scikit-learn's."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import MiniBatchDictionaryLearning, sparse_encode

from wsi_specdec.config import StainConfig
from wsi_specdec.stain import StainProfile, fit_pixels, optical_density
from wsi_specdec.stain.vahadane import factorise

CONFIG = StainConfig(method="vahadane")
Mixture = Callable[..., NDArray[np.uint8]]
Floats = NDArray[np.float64]


def angles(profile: StainProfile, truth: Floats) -> Floats:
    """Degrees between fitted and true vectors."""
    cosines = np.clip((profile.matrix() * truth).sum(axis=1), -1, 1)
    return np.asarray(np.degrees(np.arccos(cosines)))


def objective(density: Floats, vectors: Floats, sparsity: float) -> float:
    """|V - AW|²/2 + λ·sum(A) at the best amounts, by scikit-learn's solver."""
    amounts = sparse_encode(
        density, vectors, algorithm="lasso_cd", alpha=sparsity, positive=True, max_iter=5000
    )
    left = density - amounts @ vectors
    return float((left**2).sum() / 2 + sparsity * amounts.sum())


def test_known_stain_vectors_are_recovered(mixture: Mixture, vectors: Floats) -> None:
    config = CONFIG.model_copy(update={"sparsity": 0.01})
    profile = fit_pixels(mixture(), config)
    assert profile.status == "ok"
    assert profile.method == "vahadane"
    assert angles(profile, vectors).max() < 1.5
    assert profile.max_concentrations == pytest.approx((1.5, 1.2), rel=0.1)
    # The penalty draws the vectors together.
    assert angles(fit_pixels(mixture(), CONFIG), vectors).max() < 4
    assert fit_pixels(mixture(), config) == profile


def test_vectors_never_brighten_a_channel(mixture: Mixture) -> None:
    stains = np.array([[0.75, 0.65, 0.0], [0.0, 0.9, 0.436]])
    assert fit_pixels(mixture(stains=stains, noise=3), CONFIG).matrix().min() >= 0


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.3])
def test_the_factorisation_is_as_good_as_scikit_learns(mixture: Mixture, sparsity: float) -> None:
    density = optical_density(mixture(n=1000, noise=2))
    ours = factorise(density.astype(np.float32), sparsity)
    assert ours is not None
    learner = MiniBatchDictionaryLearning(
        2,
        alpha=max(sparsity, 1e-3),
        positive_code=True,
        positive_dict=True,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        batch_size=500,
        max_iter=40,
        random_state=0,
    )
    theirs = learner.fit(density).components_
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    alpha = max(sparsity, 1e-6)
    assert objective(density, ours, alpha) <= 1.002 * objective(density, theirs, alpha)


def test_sparser_amounts_lie_within_a_wider_pair(mixture: Mixture) -> None:
    def apart(sparsity: float) -> float:
        config = CONFIG.model_copy(update={"sparsity": sparsity})
        first, second = fit_pixels(mixture(noise=4), config).matrix()
        return float(first @ second)

    assert apart(0.3) != apart(0.01)


def test_one_stain_has_no_pair(mixture: Mixture) -> None:
    pixels = mixture((1.5, 0.0), noise=0.5)
    assert fit_pixels(pixels, CONFIG).status == "degenerate"
