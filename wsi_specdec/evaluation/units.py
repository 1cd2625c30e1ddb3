"""What is counted in a cohort: labelled tiles, slides and patients, and each arm's say on them.

A cohort's samples of all arms share labels, order and patients, so that arms are paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.errors import StoreError
from wsi_specdec.evaluation.runs import Evaluated, SeedRun
from wsi_specdec.keys import UNKNOWN_LABEL
from wsi_specdec.metrics import Sample
from wsi_specdec.store.calls import class_scores
from wsi_specdec.store.scores import scores_path

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# A tile is called positive at or above this probability; slides have a threshold of their own.
TILE_THRESHOLD = 0.5


class LabelledTiles(Protocol):
    """The part of a tile store that holds the truth."""

    @property
    def coords(self) -> Ints:
        """Corners (N, 2) in level-0 pixels."""
        ...

    @property
    def label(self) -> NDArray[np.int16]:
        """Labels (N,), -1 where unknown."""
        ...


Stores = Mapping[str, LabelledTiles]


def labelled(slides: Sequence[Slide], cohort: str) -> list[Slide]:
    """Return a cohort's slides that have a label, by id."""
    chosen = (s for s in slides if s.split == cohort and s.label is not None)
    return sorted(chosen, key=lambda slide: slide.slide_id)


def called(slides: Sequence[Slide], evaluated: Evaluated) -> list[Slide]:
    """Return the slides that have a call; the others are in no metric."""
    return [slide for slide in slides if slide.slide_id in evaluated.called]


def slide_samples(slides: Sequence[Slide], evaluated: Evaluated) -> dict[str, Sample]:
    """Return each arm's slide scores and calls.

    Parameters
    ----------
    slides
        Slides that have a label and a call.
    evaluated
        The runs.
    """
    labels = np.array([slide.label for slide in slides], dtype=np.int64)
    patients = _codes([slide.patient_id for slide in slides])
    ids = [slide.slide_id for slide in slides]
    samples = {}
    for arm, runs in evaluated.calls.items():
        scores = np.array([[run[name].score for name in ids] for run in runs], dtype=np.float64)
        calls = np.array([[run[name].call for name in ids] for run in runs], dtype=np.int64)
        samples[arm] = Sample(labels, patients, scores, calls)
    return samples


def calibrated_samples(slides: Sequence[Slide], evaluated: Evaluated) -> dict[str, Sample]:
    """Return each arm's slide probabilities in place of scores, of the arms that give any.

    An arm that lacks the probability of a slide in any run is left out: its scores order slides
    but are no probabilities.
    """
    samples = {}
    for arm, sample in slide_samples(slides, evaluated).items():
        rows = [[run[s.slide_id].probability for s in slides] for run in evaluated.calls[arm]]
        if slides and all(each is not None for row in rows for each in row):
            samples[arm] = replace(sample, scores=np.array(rows, dtype=np.float64))
    return samples


def patient_samples(slides: Sequence[Slide], evaluated: Evaluated) -> dict[str, Sample]:
    """Return each arm's patient scores (highest of the slides) and calls (any positive).

    A patient is positive if any labelled slide is, even one without a call.

    Parameters
    ----------
    slides
        The cohort's labelled slides; patients without any call are left out.
    evaluated
        The runs.
    """
    kept = called(slides, evaluated)
    names = sorted({slide.patient_id for slide in kept})
    positive = {slide.patient_id for slide in slides if slide.label == 1}
    labels = np.array([name in positive for name in names], dtype=np.int64)
    index = {name: row for row, name in enumerate(names)}
    owner = [index[slide.patient_id] for slide in kept]
    samples = {}
    for arm, sample in slide_samples(kept, evaluated).items():
        scores = np.full((len(sample.scores), len(names)), -np.inf)
        calls = np.zeros(scores.shape, dtype=np.int64)
        for column, patient in enumerate(owner):
            scores[:, patient] = np.maximum(scores[:, patient], sample.scores[:, column])
            calls[:, patient] |= sample.calls[:, column]
        samples[arm] = Sample(labels, np.arange(len(names)), scores, calls)
    return samples


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """The tiles of a cohort's slides whose tile truth is known, and what each run says of them.

    Attributes
    ----------
    slides
        The slides, which have a call and tiles with a known label.
    coords, labels
        Of each slide, (N, 2) and (N,), `UNKNOWN_LABEL` where a tile's label is not known.
    scores, grades
        Of each arm, of each run, of each slide, (N,): probability of any class but the first, and
        the label of the most probable class.
    classes
        How many classes tiles are told into.
    """

    slides: tuple[Slide, ...]
    coords: tuple[Ints, ...]
    labels: tuple[NDArray[np.int16], ...]
    scores: Mapping[str, tuple[tuple[Floats, ...], ...]]
    grades: Mapping[str, tuple[tuple[Ints, ...], ...]]
    classes: int

    def of(self, column: str, group: str) -> "Tiles":
        """Return the tiles of the slides of one site or scanner."""
        kept = [row for row, s in enumerate(self.slides) if getattr(s, column) == group]

        def taken(
            of_arms: Mapping[str, tuple[tuple[NDArray[Any], ...], ...]],
        ) -> dict[str, tuple[tuple[NDArray[Any], ...], ...]]:
            return {
                arm: tuple(tuple(run[row] for row in kept) for run in runs)
                for arm, runs in of_arms.items()
            }

        return replace(
            self,
            slides=tuple(self.slides[row] for row in kept),
            coords=tuple(self.coords[row] for row in kept),
            labels=tuple(self.labels[row] for row in kept),
            scores=taken(self.scores),
            grades=taken(self.grades),
        )


def tile_truths(
    slides: Sequence[Slide], stores: Stores
) -> list[tuple[Slide, Ints, NDArray[np.int16]]]:
    """Return slides that have a store, the corners (N, 2) of their tiles and their labels (N,).

    Where truth about tiles is known of any slide, all tiles of slides of label 0 that have no
    annotation are of label 0, as they are in training.
    """
    having = [(s, stores[s.slide_id]) for s in slides if s.slide_id in stores]
    truths = [(s, np.asarray(store.coords), np.asarray(store.label)) for s, store in having]
    if any((labels != UNKNOWN_LABEL).any() for _, _, labels in truths):
        truths = [(s, coords, _of_normal(s, labels)) for s, coords, labels in truths]
    return truths


def read_tiles(slides: Sequence[Slide], evaluated: Evaluated, stores: Stores) -> Tiles:
    """Read every run's tile scores, joined to the tiles' truth by coordinates (`tile_truths`).

    Parameters
    ----------
    slides
        The cohort's slides that have a call, with a label of their own or not.
    evaluated
        The runs.
    stores
        Stores by slide; slides without one give no tiles.

    Raises
    ------
    StoreError
        If a slide's scores are not of the tiles in its store.
    """
    truths = tile_truths(slides, stores)
    known = [truth for truth in truths if (truth[2] != UNKNOWN_LABEL).any()]
    read = {
        arm: [[read_scored(run, s, coords) for s, coords, _ in known] for run in runs]
        for arm, runs in evaluated.runs.items()
    }
    labels = tuple(label for _, _, label in known)
    told = [each.classes for runs in read.values() for run in runs for each in run]
    return Tiles(
        slides=tuple(slide for slide, _, _ in known),
        coords=tuple(coords for _, coords, _ in known),
        labels=labels,
        scores={a: tuple(tuple(s.positive for s in run) for run in r) for a, r in read.items()},
        grades={a: tuple(tuple(s.grades for s in run) for run in r) for a, r in read.items()},
        classes=max([2, *told, *(int(label.max(initial=0)) + 1 for label in labels)]),
    )


def patch_samples(tiles: Tiles) -> dict[str, Sample]:
    """Return each arm's tile probabilities, of the tiles whose label is known: 0, or any other."""
    labels, patients, masks = _known(tiles)
    samples = {}
    for arm, runs in tiles.scores.items():
        scores = np.stack([_taken(run, masks) for run in runs]).astype(np.float64)
        calls = (scores >= TILE_THRESHOLD).astype(np.int64)
        samples[arm] = Sample((labels > 0).astype(np.int64), patients, scores, calls)
    return samples


def grade_samples(tiles: Tiles) -> dict[str, Sample]:
    """Return each arm's most probable class of each tile whose label is known, and the labels.

    Their scores are empty: nothing ranks grades.
    """
    labels, patients, masks = _known(tiles)
    samples = {}
    for arm, runs in tiles.grades.items():
        calls = np.stack([_taken(run, masks) for run in runs]).astype(np.int64)
        samples[arm] = Sample(labels, patients, np.zeros(calls.shape), calls)
    return samples


def subset(sample: Sample, mask: NDArray[np.bool_]) -> Sample:
    """Return the units where `mask` (n,) holds, patients counted anew."""
    patients = np.unique(sample.patients[mask], return_inverse=True)[1]
    return Sample(sample.labels[mask], patients, sample.scores[:, mask], sample.calls[:, mask])


def _of_normal(slide: Slide, labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the tiles' labels, all 0 where nothing but the slide's own label 0 is known."""
    annotated = slide.annotation_path is not None or (labels != UNKNOWN_LABEL).any()
    if slide.label != 0 or annotated:
        return labels
    return np.zeros_like(labels)


def _known(tiles: Tiles) -> tuple[Ints, Ints, list[NDArray[np.bool_]]]:
    """Return labels and patients of the tiles whose label is known, and which these are."""
    masks = [label != UNKNOWN_LABEL for label in tiles.labels]
    labels = _taken(tiles.labels, masks).astype(np.int64)
    codes = _codes([slide.patient_id for slide in tiles.slides])
    return labels, np.repeat(codes, [int(mask.sum()) for mask in masks]), masks


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a run says of the tiles of a slide's store, in the order of the store.

    Attributes
    ----------
    positive, grades
        As `ClassScores` has them.
    rows
        (N,) where each tile stands in the file of scores.
    classes
        How many classes there are.
    """

    positive: Floats
    grades: Ints
    rows: Ints
    classes: int


def read_scored(run: SeedRun, slide: Slide, wanted: Ints) -> Scored:
    """Read a run's scores of a slide, in the order of its store's tiles.

    Parameters
    ----------
    wanted
        (N, 2) corners of the store's tiles.

    Raises
    ------
    StoreError
        If the scores are not of these tiles.
    """
    path = scores_path(run.scores, slide.slide_id)
    found = class_scores(path)
    order = _matching(wanted, found.coords)
    if order is None:
        msg = (
            f"the scores in {path} are of {len(found.coords)} tiles that are not the "
            f"{len(wanted)} of the slide's store; run `wsi-specdec score` again"
        )
        if len(found.coords) < len(wanted):
            msg += (
                ", without `min_tissue` and `quality` of the section `score` if they were set: "
                "tiles that these leave out have no score, and truth is compared on all tiles. "
                "To use fewer tiles, tile with a higher `min_tissue`"
            )
        raise StoreError(msg)
    classes = max(2, len(found.names))
    return Scored(found.positive[order], found.grades[order], order, classes)


def _matching(wanted: Ints, found: Ints) -> Ints | None:
    """Return the rows of `found` in the order of `wanted`, None if the tiles are not the same."""
    if np.array_equal(wanted, found):
        return np.arange(len(found))
    if wanted.shape != found.shape:
        return None
    to, origin = np.lexsort(wanted.T), np.lexsort(found.T)
    if not np.array_equal(wanted[to], found[origin]):
        return None
    order = np.empty(len(found), dtype=np.int64)
    order[to] = origin
    return order


def _codes(names: Sequence[str]) -> Ints:
    if not names:
        return np.empty(0, dtype=np.int64)
    return np.unique(np.asarray(names), return_inverse=True)[1].astype(np.int64)


def _taken(
    parts: Sequence[NDArray[np.generic]], masks: Sequence[NDArray[np.bool_]]
) -> NDArray[np.generic]:
    """Join what the masks take of each part."""
    taken = [part[mask] for part, mask in zip(parts, masks, strict=True)]
    return np.concatenate(taken) if taken else np.empty(0)
