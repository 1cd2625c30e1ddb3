"""One slide's tiles through the models, into its files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wsi_specdec.keys import N_TILES
from wsi_specdec.models import Transfer, check_fits, prefetched
from wsi_specdec.runner import TaskResult
from wsi_specdec.scoring.ensemble import Ensemble
from wsi_specdec.scoring.sources import TileSource, TileStream
from wsi_specdec.scoring.stains import Normalisers
from wsi_specdec.scoring.work import DTYPE, REASON, Work, geometry, result_of
from wsi_specdec.store import EmbeddingsWriter, write_scores
from wsi_specdec.store.filters import good_tiles

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

ALL_FILTERED: Final = "no tile meets min_tissue and quality (settings of score)"


class Tick(Protocol):
    """What is told of tiles as they are scored."""

    def __call__(self, tiles: int, /) -> None:
        """Advance by so many tiles."""


@dataclass(frozen=True, eq=False)
class OpenedSlide:
    """A slide ready to be scored."""

    source: TileSource
    stream: TileStream
    normalise: Normalisers

    @classmethod
    def open(cls, source: TileSource, work: Work, threads: int) -> "OpenedSlide":
        """Open a slide that is to be scored, and fit its stains where a model asks for that.

        Files of former scores are removed.

        Raises
        ------
        SlideError, StoreError
            If it cannot be read.
        ModelError
            If its tiles do not fit a model.
        """
        members = work.members
        work.clear(source)
        stream = source.open(threads)
        try:
            for folder, spec in zip(members.folders, members.specs, strict=True):
                check_fits(spec, stream, f"the model {folder}")
            normalise = Normalisers.of(stream, members.specs, work.stain_dir)
        except BaseException:
            stream.close()
            raise
        return cls(source, stream, normalise)


def score_opened(slide: OpenedSlide, work: Work, ensemble: Ensemble, tick: Tick) -> TaskResult:
    """Score a slide, and write its embeddings, if they are wanted, then its scores.

    Raises
    ------
    SlideError, StoreError
        If tiles cannot be read, or lack a measure that the settings name.
    """
    stream = slide.stream
    rows = np.flatnonzero(good_tiles(stream, work.config))
    sizes = ensemble.feature_sizes if work.config.embeddings else []
    logits = [np.empty((len(rows), p.spec.n_outputs), np.float32) for p in ensemble.predictors]
    with _embeddings(slide.source, work, len(rows), sum(sizes)) as kept:
        for places, outputs in _outputs(slide, rows, ensemble):
            for own, found in zip(logits, outputs, strict=False):
                own[places] = found
            if kept is not None:
                kept.put(places, np.concatenate(outputs[len(logits) :], axis=1))
            tick(len(places))
        reason = ALL_FILTERED if stream.n_tiles and not len(rows) else stream.reason
        stains = slide.normalise.counts()
        metadata = metadata_of(
            slide.source, work, stream.attributes, (len(rows), reason), stains, sizes
        )
        if kept is not None:
            kept.writer.finish(metadata)
    combined, probs, others = ensemble.columns(logits)
    names = ensemble.members.specs[0].score_names
    coords = stream.coords[rows]
    write_scores(work.scores(slide.source), coords, combined, probs, names, metadata, others)
    return result_of(metadata)


def metadata_of(
    source: TileSource,
    work: Work,
    attributes: Mapping[str, Any],
    scored: tuple[int, str],
    stains: Sequence[Mapping[str, int] | None],
    sizes: Sequence[int],
) -> dict[str, Any]:
    """Return what travels with a slide's files, once its tiles are scored.

    Parameters
    ----------
    attributes
        Those of the slide's tiles.
    scored
        Number of tiles that were scored, and why there are none or what to be wary of.
    stains
        What became of the tiles' stains, for each model.
    sizes
        Widths of the models' embeddings, where they are wanted.
    """
    n_tiles, reason = scored
    embedded = {"embedding_sizes": list(sizes), DTYPE: work.config.embeddings_dtype}
    return {
        **work.made_from(source),
        **geometry(attributes),
        N_TILES: n_tiles,
        REASON: reason,
        "stains": list(stains),
        **(embedded if work.config.embeddings else {}),
        "provenance": dict(work.provenance),
    }


def _outputs(
    slide: OpenedSlide, rows: Rows, ensemble: Ensemble
) -> Iterator[tuple[Rows, list[Floats]]]:
    """Yield the places among `rows`, (n,), of each batch, and what the models say of it."""
    order = slide.stream.order(rows)
    # Rows rise.
    places = np.searchsorted(rows, order)
    of_model = slide.normalise.of_model

    def read(numbers: Rows) -> list[NDArray[np.uint8]]:
        return slide.normalise(slide.stream.read(numbers))

    for part, outputs in batches_through(ensemble, of_model, order, read):
        yield places[part], outputs


def batches_through(
    ensemble: Ensemble,
    of_model: Sequence[int],
    numbers: Rows,
    read: Callable[[Rows], list[NDArray[np.uint8]]],
) -> Iterator[tuple[slice, list[Floats]]]:
    """Run the models over tiles in batches.

    Batches are decoded, normalised and sent ahead in a thread; the device has its next batch before
    the last one's results are waited for.

    Parameters
    ----------
    of_model
        For each model, which of the ways that `read` gives it takes.
    numbers
        Numbers of the tiles, (n,), in the order in which they are read.
    read
        Numbers of a batch to its tiles, (m, T, T, 3), in every way that models want them.

    Yields
    ------
    Which of `numbers` a batch was, and what the models say of it: the logits of each model, then
    the embeddings of each where they are wanted.
    """
    size = ensemble.batch_size
    parts = [slice(start, start + size) for start in range(0, len(numbers), size)]
    transfer = Transfer(ensemble.device)

    def prepare(part: slice) -> tuple[list[torch.Tensor], Any]:
        return transfer.send(*read(numbers[part]))

    waiting: Any = None
    with closing(prefetched(prepare, parts)) as ready:
        for part, (ways, sent) in zip(parts, ready, strict=True):
            transfer.wait(sent, *ways)
            found = transfer.fetch(*_run(ensemble, of_model, ways))
            if waiting is not None:
                yield waiting[0], waiting[1]()
            waiting = part, found
    if waiting is not None:
        yield waiting[0], waiting[1]()


def _run(
    ensemble: Ensemble, of_model: Sequence[int], ways: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Run every model on the tiles, brought to its stains: all logits, then all embeddings."""
    outputs = [p(ways[way]) for p, way in zip(ensemble.predictors, of_model, strict=True)]
    embedded = [out.embeddings for out in outputs if out.embeddings is not None]
    return [*(out.logits for out in outputs), *embedded]


@contextmanager
def _embeddings(
    source: TileSource, work: Work, n_tiles: int, n_features: int
) -> Iterator["_Embeddings | None"]:
    """Yield what takes the embeddings, None where they are not wanted."""
    if not work.config.embeddings:
        yield None
        return
    path, dtype = work.embeddings(source), work.config.embeddings_dtype
    with EmbeddingsWriter(path, n_tiles=n_tiles, n_features=n_features, dtype=dtype) as writer:
        yield _Embeddings(writer, n_features)


class _Embeddings:
    """Puts embeddings that come batch by batch into the order of the rows, and writes them.

    What waits for earlier rows is kept: a stream's order strays from that of the rows by some
    thousand tiles at most.
    """

    def __init__(self, writer: EmbeddingsWriter, n_features: int) -> None:
        self.writer = writer
        self._waiting = np.empty((0, n_features), np.float32)
        self._filled = np.empty(0, np.bool_)
        self._first = 0

    def put(self, places: Rows, values: Floats) -> None:
        """Take the embeddings, (n, D), of the rows at `places`, (n,)."""
        within = places - self._first
        more = int(within.max()) + 1 - len(self._filled)
        if more > 0:
            self._waiting = np.pad(self._waiting, ((0, more), (0, 0)))
            self._filled = np.pad(self._filled, (0, more))
        self._waiting[within] = values
        self._filled[within] = True
        whole = len(self._filled) if self._filled.all() else int(self._filled.argmin())
        if whole:
            self.writer.append(self._waiting[:whole])
            self._waiting, self._filled = self._waiting[whole:], self._filled[whole:]
            self._first += whole
