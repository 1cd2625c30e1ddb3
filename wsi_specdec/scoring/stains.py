"""Brings a slide's tiles to the stains of every model that scores it, each way once."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.models import (
    ModelSpec,
    StainNormaliser,
    count_statuses,
    stain_normaliser,
    stream_normaliser,
)
from wsi_specdec.progress import console, set_quiet
from wsi_specdec.scoring.sources import StoreStream, TileStream

Tiles = NDArray[np.uint8]


class Normalisers:
    """The different ways in which models want one slide's tiles. For one thread at a time.

    Parameters
    ----------
    ways
        A normaliser for each.
    of_model
        For each model, the number of its way.
    """

    def __init__(self, ways: Sequence[StainNormaliser], of_model: Sequence[int]) -> None:
        self.of_model = tuple(of_model)
        self._ways = tuple(ways)
        self._counts = [count_statuses(np.empty(0, np.uint8)) for _ in ways]

    @classmethod
    def of(cls, stream: TileStream, specs: Sequence[ModelSpec], folder: Path) -> "Normalisers":
        """Fit the slide's stains as the models ask, or read a store's from `folder`.

        Raises
        ------
        ModelError
            If the tiles are normalised already, but not to a model's target.
        """
        keys = [_key(spec) for spec in specs]
        unique = list(dict.fromkeys(keys))
        with _no_bar():
            ways = [_way(stream, specs[keys.index(key)], folder) for key in unique]
        return cls(ways, [unique.index(key) for key in keys])

    def __call__(self, tiles: Tiles) -> list[Tiles]:
        """Return the tiles, (n, T, T, 3), in every way."""
        slide = np.zeros(len(tiles), np.int64)
        found = []
        for way, counts in zip(self._ways, self._counts, strict=True):
            changed, statuses = way.with_statuses(tiles, slide)
            found.append(changed)
            if way.steps:
                for name, count in count_statuses(statuses).items():
                    counts[name] += count
        return found

    @property
    def counts(self) -> list[dict[str, int] | None]:
        """For each model how many tiles ended how; None where it normalises no stains."""
        known = [
            counts if way.steps else None
            for way, counts in zip(self._ways, self._counts, strict=True)
        ]
        return [known[number] for number in self.of_model]


def _way(stream: TileStream, spec: ModelSpec, folder: Path) -> StainNormaliser:
    if isinstance(stream, StoreStream):
        return stain_normaliser([stream.store], folder, spec)
    return stream_normaliser(stream, spec)


def _key(spec: ModelSpec) -> str:
    """Tell ways apart; without a target tiles stay as they are, whatever the other settings."""
    if spec.stain_target is None:
        return ""
    return spec.stain.digest() + json.dumps(spec.stain_target, sort_keys=True)


@contextmanager
def _no_bar() -> Iterator[None]:
    """Draw no bar of its own within that of the scoring: a terminal has room for one."""
    before = console().quiet
    set_quiet(quiet=True)
    try:
        yield
    finally:
        set_quiet(quiet=before)
