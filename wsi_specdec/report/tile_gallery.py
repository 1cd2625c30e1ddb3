"""Tiles that a model scored highest, and those it was most wrong about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.keys import UNKNOWN_LABEL
from wsi_specdec.report.gallery import Picture, picture
from wsi_specdec.report.heatmaps import is_shown
from wsi_specdec.report.images import fit
from wsi_specdec.report.run import Run, SeedFolder
from wsi_specdec.report.wording import Wording

_SIDE_PX: Final = 96
# Tiles of one slide in a row, so that it shows more than the darkest corner of one.
_PER_SLIDE: Final = 2
# A tile is wrong where its probability is on the other side of it.
_HALF: Final = 0.5


@dataclass(frozen=True)
class TilePicture:
    """One tile as it is shown, its score, and the slide and place that it comes from."""

    picture: Picture
    score: str
    place: str


@dataclass(frozen=True)
class TileRow:
    """One row of tiles, the most telling first; `none` is said where there are none."""

    title: str
    tiles: Sequence[TilePicture]
    none: str


@dataclass(frozen=True)
class TileShelf:
    """The rows of one arm."""

    arm: str
    rows: Sequence[TileRow]


@dataclass(frozen=True, order=True)
class _Candidate:
    """A tile; the smaller, the earlier it is shown."""

    rank: float
    slide_id: str
    index: int
    score: float
    x: int
    y: int


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Kind:
    """One row: which tiles are in it, given labels and scores, and which of them come first."""

    title: str
    none: str
    taken: Callable[[Ints, Floats], NDArray[np.bool_]]
    sign: int
    needs_labels: bool


_KINDS: Final = (
    _Kind(
        "Highest scores",
        "No tile was scored.",
        lambda labels, _: np.ones(len(labels), np.bool_),
        -1,
        False,
    ),
    _Kind(
        "Most wrong without tumour",
        "No tile without tumour scored 0.5 or more.",
        lambda labels, scores: (labels == 0) & (scores >= _HALF),
        -1,
        True,
    ),
    _Kind(
        "Most wrong with tumour",
        "No tile with tumour scored below 0.5.",
        lambda labels, scores: (labels > 0) & (scores < _HALF),
        1,
        True,
    ),
)


def make_tile_shelves(run: Run, number: int) -> list[TileShelf]:
    """Choose and draw tiles, for each arm's first seed, over the slides that have a heatmap.

    Parameters
    ----------
    run
        The run.
    number
        Tiles in a row at most, no more than two of a slide.
    """
    if number == 0:
        return []
    shown = [slide_id for slide_id in run.slides if is_shown(run, slide_id)]
    return [
        TileShelf(arm, _rows(run, seeds[0], shown, number))
        for arm, seeds in run.arms.items()
        if seeds and shown
    ]


def _rows(run: Run, folder: SeedFolder, slide_ids: Sequence[str], number: int) -> list[TileRow]:
    found: dict[str, list[_Candidate]] = {kind.title: [] for kind in _KINDS}
    labelled = False
    for slide_id in slide_ids:
        coords, scores = folder.tile_scores(slide_id)
        index, labels = run.tile_labels(slide_id, coords)
        labelled = labelled or bool((labels != UNKNOWN_LABEL).any())
        for kind in _KINDS:
            rows = _first(kind.sign * scores, kind.taken(labels, scores))
            found[kind.title] += [
                _Candidate(
                    float(kind.sign * scores[row]),
                    slide_id,
                    int(index[row]),
                    float(scores[row]),
                    *(int(n) for n in coords[row]),
                )
                for row in rows
            ]
    chosen = {title: sorted(each)[:number] for title, each in found.items()}
    pixels = _read(run, [tile for tiles in chosen.values() for tile in tiles])
    say = run.wording
    return [
        TileRow(
            say(kind.title), [_drawn(t, pixels, say) for t in chosen[kind.title]], say(kind.none)
        )
        for kind in _KINDS
        if labelled or not kind.needs_labels
    ]


def _first(ranks: Floats, taken: NDArray[np.bool_]) -> list[int]:
    """Rows of the first tiles of one slide."""
    rows = np.flatnonzero(taken & np.isfinite(ranks))
    if len(rows) > _PER_SLIDE:
        rows = rows[np.argsort(ranks[rows], kind="stable")[:_PER_SLIDE]]
    return [int(row) for row in rows]


def _read(run: Run, tiles: Sequence[_Candidate]) -> Mapping[tuple[str, int], NDArray[np.uint8]]:
    """Pixels of the tiles, those of a slide read at once."""
    wanted: dict[str, set[int]] = {}
    for tile in tiles:
        wanted.setdefault(tile.slide_id, set()).add(tile.index)
    pixels = {}
    for slide_id, numbers in wanted.items():
        ordered = sorted(numbers)
        for number, image in zip(ordered, run.store(slide_id).read(ordered), strict=True):
            pixels[slide_id, number] = fit(image, _SIDE_PX)
    return pixels


def _drawn(
    tile: _Candidate, pixels: Mapping[tuple[str, int], NDArray[np.uint8]], say: Wording
) -> TilePicture:
    where = f"x {tile.x:,}, y {tile.y:,}"
    whose = f"Tile of slide {tile.slide_id} at {where}"
    if say.of_images:
        where, whose = "", f"Image {tile.slide_id}"
    alt = f"{whose}, score {tile.score:.3f}"
    place = ", ".join(filter(None, (tile.slide_id, where)))
    image = pixels[tile.slide_id, tile.index]
    return TilePicture(picture(image, alt), f"{tile.score:.3f}", place)
