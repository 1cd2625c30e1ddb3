"""Whether tiles' embeddings lie together by class or by where they come from: robustness index."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.config import EvaluateConfig
from wsi_specdec.evaluation.runs import Evaluated, SeedRun
from wsi_specdec.evaluation.units import Stores, read_scored, tile_truths
from wsi_specdec.keys import UNKNOWN_LABEL
from wsi_specdec.metrics import Robustness, best_k
from wsi_specdec.store.embeddings import embeddings_folder, embeddings_path, read_embeddings

Ints = NDArray[np.int64]
BETWEEN = ("site", "scanner")
# Neighbours to choose from, as `best_k` does.
_CANDIDATES = np.array([1, 3, 5, 9, 15, 25, 51, 101])
_NO_PAIR = "no two {}s have tiles of both classes"
_NO_EMBEDDINGS = "there are no embeddings of {} slides: set `embeddings` of the section `score`"
_ZERO = "an embedding is all 0"
_ALONE = "all tiles are of one patient"


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Tiles of one class at one site: slides (n,) as numbers of a list, and tiles (n,) of each."""

    slides: Ints
    tiles: Ints

    def first(self, count: int) -> "_Drawn":
        return _Drawn(self.slides[:count], self.tiles[:count])


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Two sites, and as many tiles of either class of both."""

    groups: tuple[str, str]
    slides: Ints
    tiles: Ints
    classes: Ints
    places: Ints


def robustness_of(
    slides: Sequence[Slide], evaluated: Evaluated, stores: Stores, config: EvaluateConfig
) -> dict[str, dict[str, Any]]:
    """Robustness index of every arm, between the sites and between the scanners of slides.

    In the manner of PathoROB (Kömen et al. 2025): for two sites at a time, on as many tiles of
    either class of both, drawn once for all arms and seeds; the mean over all such pairs.
    Neighbours of the same patient are left out.

    Parameters
    ----------
    slides
        Slides of all cohorts to take tiles from, which have a call.
    evaluated
        The runs.
    stores
        Stores by slide, for the tiles and their labels. Where no tile's label is known, a tile
        has that of its slide.
    config
        Its `robustness_tiles` is the most of a class and site; its seed draws them.

    Returns
    -------
    By arm and column of `BETWEEN`, as `results.json` has it.

    Raises
    ------
    StoreError
        If scores are not of the tiles in the stores, or embeddings are damaged.
    """
    truths = list(_classes(slides, stores))
    members = [slide for slide, _, _ in truths]
    coords = {slide.slide_id: corners for slide, corners, _ in truths}
    out: dict[str, dict[str, Any]] = {arm: {} for arm in evaluated.runs}
    for column in BETWEEN:
        pairs = _pairs(truths, column, config)
        for arm, runs in evaluated.runs.items():
            lacking = sorted({name for run in runs for name in _lacking(run, members, pairs)})
            if not pairs or lacking:
                reason = _NO_EMBEDDINGS.format(len(lacking)) if pairs else _NO_PAIR.format(column)
                out[arm][column] = _entry([], len(runs), reason)
                continue
            found = [[_index(run, pair, members, coords) for run in runs] for pair in pairs]
            rows = [_row(p, each, members) for p, each in zip(pairs, found, strict=True)]
            out[arm][column] = _entry(rows, len(runs), None)
    return out


def _classes(slides: Sequence[Slide], stores: Stores) -> Iterator[tuple[Slide, Ints, Ints]]:
    """Yield slides, the corners of their tiles and the tiles' classes, 0, 1 or unknown."""
    truths = tile_truths(sorted(slides, key=lambda slide: slide.slide_id), stores)
    known = any((labels != UNKNOWN_LABEL).any() for _, _, labels in truths)
    for slide, coords, labels in truths:
        if known:
            yield slide, coords, np.minimum(labels, 1).astype(np.int64)
        elif slide.label is not None:
            yield slide, coords, np.full(len(coords), int(slide.label > 0), dtype=np.int64)


def _pairs(
    truths: Sequence[tuple[Slide, Ints, Ints]], column: str, config: EvaluateConfig
) -> list[_Pair]:
    """Draw tiles of each class and site once, and take of two sites as many as all four have."""
    names = sorted({getattr(slide, column) for slide, _, _ in truths} - {None, ""})
    drawn = {}
    for label in (0, 1):
        for group in names:
            parts = [
                (number, np.flatnonzero(classes == label))
                for number, (slide, _, classes) in enumerate(truths)
                if getattr(slide, column) == group
            ]
            owners = np.repeat([n for n, _ in parts], [len(tiles) for _, tiles in parts])
            tiles = np.concatenate([tiles for _, tiles in parts])
            rng = np.random.default_rng([config.seed, label, names.index(group)])
            order = rng.permutation(len(tiles))[: config.robustness_tiles]
            drawn[group, label] = _Drawn(owners[order].astype(np.int64), tiles[order])
    pairs = []
    for groups in combinations(names, 2):
        cells = [(place, label) for place in (0, 1) for label in (0, 1)]
        count = min(len(drawn[groups[place], label].tiles) for place, label in cells)
        if count:
            taken = [drawn[groups[place], label].first(count) for place, label in cells]
            places, classes = (np.repeat(each, count) for each in zip(*cells, strict=True))
            owners = np.concatenate([each.slides for each in taken])
            tiles = np.concatenate([each.tiles for each in taken])
            pairs.append(_Pair(groups, owners, tiles, classes, places))
    return pairs


def _lacking(run: SeedRun, members: Sequence[Slide], pairs: Sequence[_Pair]) -> Iterator[str]:
    folder = embeddings_folder(run.scores)
    for number in {int(each) for pair in pairs for each in pair.slides}:
        name = members[number].slide_id
        if not embeddings_path(folder, name).is_dir():
            yield name


def _index(
    run: SeedRun, pair: _Pair, members: Sequence[Slide], coords: Mapping[str, Ints]
) -> Robustness:
    vectors = _read(run, pair, members, coords)
    patients = np.array([members[number].patient_id for number in pair.slides])
    most = patients.size - int(np.unique(patients, return_counts=True)[1].max())
    if most < 1 or not vectors.any(axis=1).all():
        return Robustness(None, 0, 0, 0, 0.0, _ALONE if most < 1 else _ZERO)
    candidates = _CANDIDATES[most >= _CANDIDATES]
    return best_k(vectors, pair.classes, pair.places, patients, candidates=candidates)


def _read(
    run: SeedRun, pair: _Pair, members: Sequence[Slide], coords: Mapping[str, Ints]
) -> NDArray[np.float32]:
    """Read the embeddings of a pair's tiles (n, D), slide by slide."""
    parts, places = [], []
    for number in np.unique(pair.slides):
        slide = members[number]
        where = np.flatnonzero(pair.slides == number)
        rows = read_scored(run, slide, coords[slide.slide_id]).rows[pair.tiles[where]]
        path = embeddings_path(embeddings_folder(run.scores), slide.slide_id)
        parts.append(read_embeddings(path, rows))
        places.append(where)
    return np.concatenate(parts)[np.argsort(np.concatenate(places))]


def _row(pair: _Pair, found: Sequence[Robustness], members: Sequence[Slide]) -> dict[str, Any]:
    return {
        "groups": list(pair.groups),
        "tiles": len(pair.tiles),
        "patients": len({members[number].patient_id for number in pair.slides}),
        "per_seed": [each.index for each in found],
        "k": [each.k or None for each in found],
        "reason": next((each.reason for each in found if each.reason), None),
    }


def _entry(rows: list[dict[str, Any]], seeds: int, reason: str | None) -> dict[str, Any]:
    """Average the pairs that have an index for every seed."""
    whole = [row["per_seed"] for row in rows if row["reason"] is None]
    per_seed = [float(x) for x in np.mean(whole, axis=0)] if whole else [None] * seeds
    return {
        "value": float(np.mean(whole)) if whole else None,
        "per_seed": per_seed,
        "pairs": rows,
        "reason": None if whole else reason or rows[0]["reason"],
    }
