"""Images of a packed store, many in a batch, each into files of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.models import check_fits
from wsi_specdec.runner import TaskResult
from wsi_specdec.scoring.ensemble import Ensemble
from wsi_specdec.scoring.slide import ALL_FILTERED, Floats, Rows, batches_through, metadata_of
from wsi_specdec.scoring.sources import StoreSource, TileSource
from wsi_specdec.scoring.stains import Normalisers
from wsi_specdec.scoring.work import Work, result_of
from wsi_specdec.store import BatchReader, EmbeddingsWriter, PackedImage, write_scores
from wsi_specdec.store.filters import good_tiles

# Batches of images that are opened at once: enough that their ends cost nothing.
_BATCHES = 16


@dataclass(frozen=True, eq=False)
class OpenedImages:
    """Images of one packed store, ready to be scored together.

    Attributes
    ----------
    sources, images
        They, and their stores.
    reader
        Of the store that holds them.
    normalise
        Knows their stains.
    """

    sources: tuple[TileSource, ...]
    images: tuple[PackedImage, ...]
    reader: BatchReader
    normalise: Normalisers

    @classmethod
    def open(cls, sources: Sequence[TileSource], work: Work, threads: int) -> "OpenedImages":
        """Open images that `together` put together, and fit their stains where a model asks.

        Files of former scores are removed.

        Raises
        ------
        ModelError
            If the tiles do not fit a model.
        """
        images = tuple(image for image in map(_image, sources) if image is not None)
        members = work.members
        for source in sources:
            work.clear(source)
        for folder, spec in zip(members.folders, members.specs, strict=True):
            check_fits(spec, images[0], f"the model {folder}")
        normalise = Normalisers.of_stores(images, members.specs, work.stain_dir)
        return cls(tuple(sources), images, BatchReader([images[0].base], threads), normalise)

    def read(self, numbers: Rows) -> list[NDArray[np.uint8]]:
        """Return images by their numbers, (n, T, T, 3), in every way that models want them."""
        rows = np.array([self.images[number].row for number in numbers.tolist()], np.int64)
        return self.normalise(self.reader.read(np.zeros_like(rows), rows), numbers)


def together(sources: Sequence[TileSource], batch_size: int) -> list[tuple[TileSource, ...]]:
    """Put images of one packed store together, some batches of them; slides stay alone."""
    groups: list[tuple[TileSource, ...]] = []
    for base, found in groupby(sources, _base):
        listed = list(found)
        step = 1 if base is None else _BATCHES * batch_size
        groups += [tuple(listed[start : start + step]) for start in range(0, len(listed), step)]
    return groups


def score_images(
    opened: OpenedImages, work: Work, ensemble: Ensemble
) -> Iterator[dict[int, TaskResult]]:
    """Score images, and yield for each batch the results of its images by their numbers.

    They have the scores that `score_opened` gives each alone, up to the rounding of other batches.

    Raises
    ------
    StoreError
        If an image cannot be read, or lacks a measure that the settings name. Those of the batches
        that came before are written.
    """
    sizes = ensemble.feature_sizes if work.config.embeddings else []
    rows = [image.row for image in opened.images]
    good = good_tiles(opened.images[0].base, work.config)[rows]
    none = np.empty((0, ensemble.predictors[0].spec.n_outputs), np.float32)
    nothing = [none] * len(ensemble.predictors), np.empty((0, sum(sizes)), np.float32)
    left_out = np.flatnonzero(~good).tolist()
    if left_out:
        yield {n: _write(opened, n, work, ensemble, sizes, nothing) for n in left_out}
    kept = np.flatnonzero(good)
    models = len(ensemble.predictors)
    of_model = opened.normalise.of_model
    for part, outputs in batches_through(ensemble, of_model, kept, opened.read):
        done = {}
        for place, number in enumerate(kept[part].tolist()):
            own = [values[place : place + 1] for values in outputs]
            embedded = np.concatenate(own[models:], axis=1) if sizes else nothing[1]
            done[number] = _write(opened, number, work, ensemble, sizes, (own[:models], embedded))
        yield done


def _write(
    opened: OpenedImages,
    number: int,
    work: Work,
    ensemble: Ensemble,
    sizes: Sequence[int],
    outputs: tuple[Sequence[Floats], Floats],
) -> TaskResult:
    """Write one image's embeddings, if they are wanted, then its scores."""
    source, image = opened.sources[number], opened.images[number]
    logits, embedded = outputs
    scored = len(logits[0])
    stains = opened.normalise.counts(number)
    reason = "" if scored else ALL_FILTERED
    metadata = metadata_of(source, work, image.attributes, (scored, reason), stains, sizes)
    if work.config.embeddings:
        path, dtype = work.embeddings(source), work.config.embeddings_dtype
        with EmbeddingsWriter(path, n_tiles=scored, n_features=sum(sizes), dtype=dtype) as writer:
            writer.append(embedded)
            writer.finish(metadata)
    combined, probs, others = ensemble.columns(logits)
    names = ensemble.members.specs[0].score_names
    coords = image.coords[:scored]
    write_scores(work.scores(source), coords, combined, probs, names, metadata, others)
    return result_of(metadata)


def _image(source: TileSource) -> PackedImage | None:
    store = source.store if isinstance(source, StoreSource) else None
    return store if isinstance(store, PackedImage) else None


def _base(source: TileSource) -> int | None:
    """Tell packed stores apart; None for a slide."""
    image = _image(source)
    return None if image is None else id(image.base)
