"""Brings a slide's tiles to the stains of every model that scores it, each way once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
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
from wsi_specdec.store import TileStore

Tiles = NDArray[np.uint8]


class Normalisers:
    """The different ways in which models want slides' tiles. For one thread at a time.

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
        # Of each way, by the number of the slide.
        self._counts: list[dict[int, Counter[str]]] = [{} for _ in ways]

    @classmethod
    def of(cls, stream: TileStream, specs: Sequence[ModelSpec], folder: Path) -> "Normalisers":
        """Fit the slide's stains as the models ask, or read a store's from `folder`.

        Raises
        ------
        ModelError
            If the tiles are normalised already, but not to a model's target.
        """
        if isinstance(stream, StoreStream):
            return cls.of_stores([stream.store], specs, folder)
        return cls._of(specs, partial(stream_normaliser, stream))

    @classmethod
    def of_stores(
        cls, stores: Sequence[TileStore], specs: Sequence[ModelSpec], folder: Path
    ) -> "Normalisers":
        """Fit the stains of each store as the models ask, or read them from `folder`.

        Raises
        ------
        ModelError
            As `of`.
        """
        return cls._of(specs, partial(stain_normaliser, stores, folder))

    @classmethod
    def _of(
        cls, specs: Sequence[ModelSpec], way: Callable[[ModelSpec], StainNormaliser]
    ) -> "Normalisers":
        keys = [_key(spec) for spec in specs]
        unique = list(dict.fromkeys(keys))
        with _no_bar():
            ways = [way(specs[keys.index(key)]) for key in unique]
        return cls(ways, [unique.index(key) for key in keys])

    def __call__(self, tiles: Tiles, slides: NDArray[np.int64] | None = None) -> list[Tiles]:
        """Return the tiles, (n, T, T, 3), in every way.

        `slides`, (n,), are the numbers of their stores; without it there is one.
        """
        owners = np.zeros(len(tiles), np.int64) if slides is None else slides
        found = []
        for way, counts in zip(self._ways, self._counts, strict=True):
            changed, statuses = way.with_statuses(tiles, owners)
            found.append(changed)
            for owner in np.unique(owners).tolist() if way.steps else ():
                own = counts.setdefault(owner, Counter())
                own.update(count_statuses(statuses[owners == owner]))
        return found

    def counts(self, slide: int = 0) -> list[dict[str, int] | None]:
        """For each model how many of a slide's tiles ended how; None where it changes no stains."""
        none = count_statuses(np.empty(0, np.uint8))
        known = [
            {**none, **counts.get(slide, {})} if way.steps else None
            for way, counts in zip(self._ways, self._counts, strict=True)
        ]
        return [known[number] for number in self.of_model]


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
