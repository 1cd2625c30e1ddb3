"""FROC: how many lesions are found at a stated number of false positives a slide.

As CAMELYON16 has it (Ehteshami Bejnordi et al., JAMA 2017; 318: 2199): a detection is a point with
a score; one within a lesion finds it, with the highest score of those that do; any other is a false
positive; the curve is read, by linear interpolation, at 1/4, 1/2, 1, 2, 4 and 8 false positives a
slide, over all slides, and the sensitivities there are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_specdec.metrics.measure import Point
from wsi_specdec.metrics.tables import (
    Values,
    blocks_of,
    distinct,
    ratio,
    tabulate,
    weighted,
    without_each,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FROC_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
IGNORED = -1
_NOWHERE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found on slides of some patients.

    Attributes
    ----------
    found, found_patients
        Score of each lesion that was found, and its patient.
    false, false_patients
        Score of each false positive, and its patient.
    lesions, slides
        (C,) lesions and slides of each patient, found or not.
    """

    found: Floats
    found_patients: Ints
    false: Floats
    false_patients: Ints
    lesions: Ints
    slides: Ints


def froc(detections: Detections) -> Point:
    """Mean sensitivity at `FROC_RATES` false positives a slide; `n` is the number of lesions."""
    lesions = int(detections.lesions.sum())
    if lesions == 0:
        return Point(None, 0, "there is no lesion")
    whole = np.ones((1, detections.lesions.size))
    value = froc_table(detections, exact=True).replicate(["froc"], whole)["froc"][0]
    return Point(float(value), lesions)


def lesions_of(labels: Ints, coords: Ints, stride: int) -> Ints:
    """Return the lesion of each tile: tiles of label 1 that touch, also at a corner, are one.

    Parameters
    ----------
    labels
        (n,) 1 within a lesion, 0 outside, -1 unknown.
    coords, stride
        (n, 2) corners of the tiles and their distance, in level-0 px.

    Returns
    -------
    (n,) 0 outside, 1 … L within a lesion, `IGNORED` where unknown.
    """
    grid, cells = _grid(coords, stride)
    inside = np.zeros(grid, dtype=np.bool_)
    inside[cells] = labels == 1
    numbers, _ = ndimage.label(inside, structure=np.ones((3, 3)))
    return np.where(labels < 0, IGNORED, numbers[cells]).astype(np.int64)


def peaks_of(scores: Floats, coords: Ints, stride: int, *, reach: int) -> Ints:
    """Return the tiles that stand for a detection: none of a higher score lies near.

    Parameters
    ----------
    scores
        (n,). Of equal scores the first tile goes before.
    coords, stride
        (n, 2) corners of the tiles and their distance, in level-0 px.
    reach
        Tiles in either direction that are near.

    Returns
    -------
    Indices, ascending.
    """
    rank = np.empty(scores.size, dtype=np.int64)
    rank[np.lexsort((-np.arange(scores.size), scores))] = np.arange(scores.size)
    grid, cells = _grid(coords, stride)
    ranks = np.full(grid, _NOWHERE, dtype=np.int64)
    ranks[cells] = rank
    highest = ndimage.maximum_filter(ranks, size=2 * reach + 1, mode="constant", cval=_NOWHERE)
    return np.flatnonzero(highest[cells] == rank)


def match(scores: Floats, hits: Ints, n_lesions: int) -> tuple[Floats, Floats]:
    """Match a slide's detections to its lesions.

    Parameters
    ----------
    scores, hits
        (d,) score of each detection, and the lesion 1 … L that it lies in, 0 for none, `IGNORED`
        for one that counts neither way (CAMELYON16: isolated tumour cells).
    n_lesions
        L.

    Returns
    -------
    Scores of the lesions that were found, and of the false positives.
    """
    best = np.full(n_lesions + 1, -np.inf)
    inside = hits > 0
    np.maximum.at(best, hits[inside], scores[inside])
    return best[best > -np.inf], scores[hits == 0]


@dataclass(frozen=True, slots=True, eq=False)
class FrocTable:
    """Lesions found and false positives of each patient at each distinct score, ascending.

    Attributes
    ----------
    found, false
        (B, C): B distinct scores (or bins of them), C patients.
    lesions, slides
        (C,).
    """

    found: Any
    false: Any
    lesions: Floats
    slides: Floats

    def replicate(self, metrics: Sequence[str], weights: Floats) -> Values:
        """Return the FROC score under each row of `weights` (R, C) as (R,)."""
        blocks = blocks_of(weights, self.found.shape[0])
        parts = [
            self._score(
                weighted(self.found, block),
                weighted(self.false, block),
                self.lesions @ block,
                self.slides @ block,
            )
            for block in blocks
        ]
        return dict.fromkeys(metrics, np.concatenate([np.empty(0), *parts]))

    def leave_one_out(self, metrics: Sequence[str]) -> Values:
        """Return the FROC score without each patient in turn as (C,)."""
        parts, start = [], 0
        for found, false in zip(without_each(self.found), without_each(self.false), strict=True):
            here = slice(start, start + found.shape[1])
            lesions, slides = (one.sum() - one[here] for one in (self.lesions, self.slides))
            parts.append(self._score(found, false, lesions, slides))
            start = here.stop
        return dict.fromkeys(metrics, np.concatenate([np.empty(0), *parts]))

    @staticmethod
    def _score(found: Floats, false: Floats, lesions: Floats, slides: Floats) -> Floats:
        """Read the curves of counts (B, r), lowest score first, at the rates."""
        sensitivity = ratio(np.cumsum(found[::-1], axis=0), np.broadcast_to(lesions, found.shape))
        rates = ratio(np.cumsum(false[::-1], axis=0), np.broadcast_to(slides, false.shape))
        out = np.full(lesions.size, np.nan)
        for column in np.flatnonzero((lesions > 0) & (slides > 0)):
            out[column] = _read(rates[:, column], sensitivity[:, column])
        return out


def froc_table(detections: Detections, *, exact: bool = False) -> FrocTable:
    """Tabulate detections by patient; unless `exact`, close scores are tied if they are many."""
    scores = np.concatenate([detections.found, detections.false])
    if exact:
        values, bins = np.unique(scores, return_inverse=True)
        n_bins = values.size
    else:
        bins, n_bins = distinct(scores)
    split = detections.found.size
    shape = (n_bins, detections.lesions.size)
    return FrocTable(
        tabulate(bins[:split], detections.found_patients, shape),
        tabulate(bins[split:], detections.false_patients, shape),
        detections.lesions.astype(np.float64),
        detections.slides.astype(np.float64),
    )


def _read(rates: Floats, sensitivity: Floats) -> float:
    """Interpolate one curve, which starts at (0, 0); of several points at a rate the highest."""
    if rates.size == 0:
        return 0.0
    last = np.append(np.diff(rates) > 0, [True])
    x, y = rates[last], sensitivity[last]
    if x[0] > 0:
        x, y = np.concatenate([[0.0], x]), np.concatenate([[0.0], y])
    return float(np.interp(FROC_RATES, x, y).mean())


def _grid(coords: Ints, stride: int) -> tuple[tuple[int, int], tuple[Ints, Ints]]:
    """Return the size (rows, columns) of a slide's grid of tiles, and each tile's cell."""
    if coords.size == 0:
        return (0, 0), (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    columns, rows = ((coords - coords.min(axis=0)) // stride).T
    return (int(rows.max()) + 1, int(columns.max()) + 1), (rows, columns)
