"""FROC of a cohort: lesions and detections from the labels and scores of tiles."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.evaluation.units import Tiles
from wsi_specdec.metrics import (
    Detections,
    Plan,
    Resampled,
    Sample,
    froc,
    froc_table,
    lesions_of,
    match,
    peaks_of,
    resample_tables,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FROC = "froc"


def resample_froc(
    tiles: Tiles, samples: dict[str, Sample], plan: Plan, reach: int
) -> dict[str, Resampled]:
    """Resample each arm's FROC score.

    Lesions are tiles of label 1 or more that touch; detections are tiles of the highest score
    within `reach` tiles; a detection on a tile of unknown label counts neither way.

    Parameters
    ----------
    tiles
        The cohort's tiles.
    samples
        Each arm's sample of the same tiles (`patch_samples`), for its patients.
    plan
        The resamples, of the samples' patients.
    reach
        Tiles in either direction within which there is one detection.
    """
    strides = [_stride(coords) for coords in tiles.coords]
    lesions = [
        lesions_of(np.minimum(labels, 1).astype(np.int64), coords, stride)
        for labels, coords, stride in zip(tiles.labels, tiles.coords, strides, strict=True)
    ]
    patients = _codes(tiles)
    out = {}
    for arm, sample in samples.items():
        found = [
            _detections(tiles, run, lesions, strides, patients, reach) for run in tiles.scores[arm]
        ]
        points = tuple(froc(each) for each in found)
        if any(point.value is None for point in points):
            out[arm] = Resampled(sample, FROC, points, np.nan, np.empty(0), np.empty(0))
        else:
            tables = [froc_table(each) for each in found]
            out[arm] = resample_tables(sample, {FROC: points}, plan, tables)[FROC]
    return out


def _detections(
    tiles: Tiles,
    run: Sequence[Floats],
    lesions: Sequence[Ints],
    strides: Sequence[int],
    patients: Ints,
    reach: int,
) -> Detections:
    count = int(patients.max(initial=-1)) + 1
    found: list[Floats] = [np.empty(0)]
    false: list[Floats] = [np.empty(0)]
    numbers = []
    for scores, coords, lesion, stride in zip(run, tiles.coords, lesions, strides, strict=True):
        peaks = peaks_of(scores, coords, stride, reach=reach)
        numbers.append(int(lesion.max(initial=0)))
        hit, missed = match(scores[peaks], lesion[peaks], numbers[-1])
        found.append(hit)
        false.append(missed)
    return Detections(
        found=np.concatenate(found),
        found_patients=np.repeat(patients, [part.size for part in found[1:]]),
        false=np.concatenate(false),
        false_patients=np.repeat(patients, [part.size for part in false[1:]]),
        lesions=np.bincount(patients, weights=numbers, minlength=count).astype(np.int64),
        slides=np.bincount(patients, minlength=count),
    )


def _codes(tiles: Tiles) -> Ints:
    names = np.asarray([slide.patient_id for slide in tiles.slides], dtype=np.str_)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _stride(coords: Ints) -> int:
    """Return the distance of neighbouring tiles: the least that two columns or rows are apart."""
    gaps = np.concatenate([np.diff(np.unique(axis)) for axis in coords.T])
    return int(gaps.min()) if gaps.size else 1
