"""Robustness index, against scikit-learn's neighbours and cases whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import NearestNeighbors

from wsi_specdec.metrics import best_k, robustness_index
from wsi_specdec.metrics import robustness as module

Floats = NDArray[np.float64]
Names = NDArray[np.str_]


def case(
    seed: int, biology: float, site: float, per_slide: int = 5
) -> tuple[Floats, Names, Names, Names]:
    """Two classes at two sites, three slides of each; both move the embedding."""
    rng = np.random.default_rng(seed)
    classes, sites, slides = [], [], []
    for label in ("benign", "tumour"):
        for place in ("here", "there"):
            for number in range(3):
                classes += [label] * per_slide
                sites += [place] * per_slide
                slides += [f"{label}-{place}-{number}"] * per_slide
    means = biology * (np.array(classes) == "tumour")[:, None] * np.eye(6)[0]
    means = means + site * (np.array(sites) == "there")[:, None] * np.eye(6)[1]
    embeddings = 2 + means + rng.normal(0, 0.2, (len(classes), 6))
    return embeddings, np.array(classes), np.array(sites), np.array(slides)


@pytest.mark.parametrize("seed", range(3))
def test_index_is_that_of_scikit_learns_neighbours(seed: int) -> None:
    embeddings, classes, sites, slides = case(seed, 0.4, 0.4)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    order = NearestNeighbors(n_neighbors=len(unit)).fit(unit).kneighbors(unit)[1]
    so = os = 0
    called = []
    for row, neighbours in enumerate(order):
        others = [n for n in neighbours if slides[n] != slides[row]][:7]
        so += sum(classes[n] == classes[row] and sites[n] != sites[row] for n in others)
        os += sum(classes[n] != classes[row] and sites[n] == sites[row] for n in others)
        votes = [str(classes[n]) for n in others]
        called.append(max(sorted(set(votes)), key=votes.count))
    found = robustness_index(embeddings, classes, sites, slides, k=7)
    assert (found.same_class_other_site, found.other_class_same_site) == (so, os)
    assert found.index == pytest.approx(so / (so + os))
    assert found.accuracy == pytest.approx(balanced_accuracy_score(classes, called))


def test_biology_alone_gives_one_and_site_alone_gives_zero() -> None:
    biology = robustness_index(*case(0, 8.0, 0.0), k=20)
    site = robustness_index(*case(0, 0.0, 8.0), k=20)
    assert biology.index == pytest.approx(1.0, abs=0.01)
    assert site.index == pytest.approx(0.0, abs=0.01)


def test_neither_gives_a_half() -> None:
    found = robustness_index(*case(2, 0.0, 0.0, per_slide=40), k=30)
    assert found.index == pytest.approx(0.5, abs=0.05)


def test_a_slides_own_tiles_are_no_neighbours() -> None:
    embeddings, classes, sites, slides = case(1, 0.3, 0.3)
    # All tiles of a slide alike: they would fill the neighbourhood.
    together = embeddings[np.unique(slides, return_inverse=True)[1] * 5]
    found = robustness_index(together, classes, sites, slides, k=4)
    assert found.same_class_other_site + found.other_class_same_site > 0
    only_own = [f"{name}" for name in range(len(slides))]
    near = robustness_index(together, classes, sites, only_own, k=4)
    assert near.index is None
    assert near.reason == "every neighbour shares both class and site, or neither"


def test_scale_of_an_embedding_does_not_matter() -> None:
    embeddings, *names = case(3, 0.4, 0.4)
    stretched = embeddings * np.random.default_rng(0).uniform(0.1, 9, (len(embeddings), 1))
    assert robustness_index(stretched, *names, k=5) == robustness_index(embeddings, *names, k=5)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given = case(4, 0.4, 0.4)
    whole = robustness_index(*given, k=5)
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 130)
    assert robustness_index(*given, k=5) == whole


def test_best_k_calls_classes_best() -> None:
    given = case(5, 0.35, 0.3)
    every = [robustness_index(*given, k=k) for k in (1, 5, 15, 40)]
    best = max(each.accuracy for each in every)
    found = best_k(*given, candidates=[40, 5, 1, 15])
    assert found == next(each for each in every if each.accuracy == best)


@pytest.mark.parametrize("k", [0, 56])
def test_k_is_within_what_other_slides_hold(k: int) -> None:
    with pytest.raises(ValueError, match="not within 1 and 55"):
        robustness_index(*case(0, 1, 1), k=k)


def test_embeddings_must_be_finite_and_of_some_length() -> None:
    embeddings, *names = case(0, 1, 1)
    embeddings[3] = 0
    with pytest.raises(ValueError, match="finite and not all 0"):
        robustness_index(embeddings, *names, k=3)
    with pytest.raises(ValueError, match="but 60 slides"):
        robustness_index(embeddings[4:], *names, k=3)
    with pytest.raises(ValueError, match=r"must be \(n, d\)"):
        robustness_index(embeddings[0], *names, k=3)
