"""Robustness index: whether embeddings lie together by biology or by the site they come from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Robustness:
    """How the nearest neighbours of embeddings divide by class and site.

    Attributes
    ----------
    index
        SO / (SO + OS), in [0, 1]: 1 where neighbours of another class from the same site are
        never nearer than those of the same class from another; None where there are neither.
    k
        Neighbours of each embedding.
    same_class_other_site, other_class_same_site
        SO and OS.
    accuracy
        Balanced accuracy of calling a class by the vote of the k neighbours, a tie for the
        lowest class.
    reason
        Why the index is None.
    """

    index: float | None
    k: int
    same_class_other_site: int
    other_class_same_site: int
    accuracy: float
    reason: str | None = None


def robustness_index(
    embeddings: ArrayLike, labels: ArrayLike, sites: ArrayLike, slides: ArrayLike, *, k: int
) -> Robustness:
    """Robustness index in the manner of PathoROB (Kömen et al. 2025, arXiv:2507.17845).

    R_k = sum_i SO_i / sum_i (SO_i + OS_i), where SO_i counts, among the k nearest neighbours of
    embedding i, those of its class from another site, and OS_i those of another class from its
    site. Neighbours are by Euclidean distance between embeddings of length 1, never from the same
    slide. The paper takes pairs of two classes and two sites with equal numbers of each: the
    index is only comparable between models on the same embeddings' tiles, and only fair where
    classes and sites are balanced.

    Parameters
    ----------
    embeddings
        Shape (n, d), no row all 0.
    labels, sites, slides
        Shape (n,): class, site and slide of each.
    k
        Neighbours; the paper takes the k of the best `accuracy` (`best_k`).

    Raises
    ------
    ValueError
        If shapes contradict each other, a row is 0 or not finite, or k is not within 1 to the
        number of embeddings from other slides.
    """
    classes, places, owners = (_codes(each) for each in (labels, sites, slides))
    nearest = _nearest(_unit(embeddings), owners, k)
    return _judge(nearest, classes, places)


def best_k(
    embeddings: ArrayLike,
    labels: ArrayLike,
    sites: ArrayLike,
    slides: ArrayLike,
    *,
    candidates: ArrayLike,
) -> Robustness:
    """Return the robustness index at the k that calls classes best, the lowest of equal ones.

    Parameters
    ----------
    embeddings, labels, sites, slides
        As in `robustness_index`.
    candidates
        The k to choose from.
    """
    ks = np.unique(np.asarray(candidates, dtype=np.int64))
    classes, places, owners = (_codes(each) for each in (labels, sites, slides))
    nearest = _nearest(_unit(embeddings), owners, int(ks.max()))
    judged = [_judge(nearest[:, :k], classes, places) for k in ks]
    return max(judged, key=lambda each: (each.accuracy, -each.k))


def _judge(nearest: Ints, classes: Ints, places: Ints) -> Robustness:
    same_class = classes[nearest] == classes[:, None]
    same_site = places[nearest] == places[:, None]
    good = int((same_class & ~same_site).sum())
    bad = int((~same_class & same_site).sum())
    k = nearest.shape[1]
    accuracy = _accuracy(classes[nearest], classes)
    if good + bad == 0:
        reason = "every neighbour shares both class and site, or neither"
        return Robustness(None, k, good, bad, accuracy, reason)
    return Robustness(good / (good + bad), k, good, bad, accuracy)


def _accuracy(votes: Ints, classes: Ints) -> float:
    count = int(classes.max()) + 1
    cells = np.arange(classes.size)[:, None] * count + votes
    ballots = np.bincount(cells.ravel(), minlength=classes.size * count)
    right = ballots.reshape(-1, count).argmax(axis=1) == classes
    return float(np.mean([right[classes == each].mean() for each in range(count)]))


def _nearest(vectors: Floats, owners: Ints, k: int) -> Ints:
    """Return the k nearest rows from other slides, nearest first, ties by index: (n, k)."""
    if vectors.shape[0] != owners.size:
        msg = f"{vectors.shape[0]} embeddings, but {owners.size} slides named"
        raise ValueError(msg)
    most = owners.size - int(np.bincount(owners).max(initial=0))
    if not 1 <= k <= most:
        msg = f"k = {k} is not within 1 and {most}, the embeddings that every one has elsewhere"
        raise ValueError(msg)
    step = max(1, _BLOCK_ELEMENTS // owners.size)
    out = np.empty((owners.size, k), dtype=np.int64)
    for start in range(0, owners.size, step):
        here = slice(start, start + step)
        alike = vectors[here] @ vectors.T
        alike[owners[here, None] == owners] = -np.inf
        chosen = np.argpartition(-alike, k - 1, axis=1)[:, :k]
        order = np.lexsort((chosen, -np.take_along_axis(alike, chosen, axis=1)), axis=1)
        out[here] = np.take_along_axis(chosen, order, axis=1)
    return out


def _unit(embeddings: ArrayLike) -> Floats:
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2:
        msg = f"embeddings must be (n, d), got {vectors.shape}"
        raise ValueError(msg)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        msg = "every embedding must be finite and not all 0"
        raise ValueError(msg)
    return np.asarray(vectors / lengths, dtype=np.float64)


def _codes(names: ArrayLike) -> Ints:
    values = np.asarray(names)
    return np.unique(values, return_inverse=True)[1].astype(np.int64).reshape(values.shape)
