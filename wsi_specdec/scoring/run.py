"""Scores the tiles of slides, one Parquet file a slide."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from wsi_specdec.config import ScoreConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.keys import MODEL_HASH
from wsi_specdec.models import (
    ModelSpec,
    StainNormaliser,
    check_fits,
    decode_threads,
    load_model,
    load_spec,
    model_sha256,
    predict_logits,
    prefetched,
    probabilities,
    resolve_device,
    stain_normaliser,
)
from wsi_specdec.progress import Ticker, progress
from wsi_specdec.provenance import provenance
from wsi_specdec.store import (
    BatchReader,
    TileStore,
    read_scores_metadata,
    scores_path,
    write_scores,
)


def score_stores(
    stores: Mapping[str, TileStore],
    model: Path,
    out: Path,
    config: ScoreConfig,
    stain_dir: Path,
) -> None:
    """Score every tile of every store; slides already scored are passed over.

    A slide counts as scored if its file was made by a model of the same weights, preprocessing,
    stain target and temperature, from the same store.

    Parameters
    ----------
    stores
        Slide id to tile store; one of no tiles gets a file without rows.
    model
        The model's folder.
    out
        Folder of `<slide_id>.parquet`: `x`, `y`, `logit_<class>` and the calibrated
        `prob_<class>`.
    stain_dir
        Where the slides' stain profiles are kept.

    Raises
    ------
    ModelError
        If the model cannot be loaded, or a store's tile size or mpp is not the model's. Nothing
        is scored then.
    """
    spec = load_spec(model)
    for store in stores.values():
        check_fits(spec, store, f"the model {model}")
    made_by = model_sha256(model)
    made_from = {slide_id: _made_from(store, made_by) for slide_id, store in stores.items()}
    todo = {
        slide_id: stores[slide_id]
        for slide_id, made in made_from.items()
        if not _is_scored(scores_path(out, slide_id), made)
    }
    if not todo:
        return
    module, spec = load_model(model, config.device)
    normaliser = stain_normaliser(list(todo.values()), stain_dir, spec)
    scorer = _Scorer(module, spec, resolve_device(config.device), normaliser, config)
    origin = {"provenance": provenance({"model": made_by})}
    with progress("score", sum(store.n_tiles for store in todo.values())) as tick:
        for number, (slide_id, store) in enumerate(todo.items()):
            logits = scorer.logits(store, number, tick)
            write_scores(
                scores_path(out, slide_id),
                store.coords,
                logits,
                probabilities(logits, spec.temperature),
                spec.score_names,
                made_from[slide_id] | origin,
            )


class _Scorer:
    """A model at work on stores; `number` is a store's place among the normaliser's sources."""

    def __init__(
        self,
        module: nn.Module,
        spec: ModelSpec,
        device: torch.device,
        normaliser: StainNormaliser,
        config: ScoreConfig,
    ) -> None:
        self._module, self._spec, self._device = module, spec, device
        self._normaliser, self._batch_size = normaliser, config.batch_size

    def logits(self, store: TileStore, number: int, tick: Ticker) -> NDArray[np.float32]:
        """Logits of all tiles in order, float32 (N, outputs); tiles are decoded ahead."""
        rows = np.arange(store.n_tiles)
        batches = [
            rows[start : start + self._batch_size]
            for start in range(0, store.n_tiles, self._batch_size)
        ]
        done = [np.empty((0, self._spec.n_outputs), np.float32)]
        with BatchReader([store], decode_threads(self._device)) as reader:

            def read(tile_index: NDArray[np.int64]) -> NDArray[np.uint8]:
                tiles = reader.read(np.zeros_like(tile_index), tile_index)
                return self._normaliser(tiles, np.full(len(tiles), number))

            with closing(prefetched(read, batches)) as ready:
                for tiles in ready:
                    done.append(predict_logits(self._module, self._spec, tiles, self._device))
                    tick(len(tiles), store.slide_id)
        return np.concatenate(done)


def _made_from(store: TileStore, model: str) -> dict[str, Any]:
    """Name everything that a slide's scores depend on."""
    return {
        MODEL_HASH: model,
        "slide_id": store.slide_id,
        "n_tiles": store.n_tiles,
        "params_sha256": store.attributes.get("params_sha256"),
        "slide_fingerprint": store.attributes.get("slide_fingerprint"),
    }


def _is_scored(path: Path, made_from: Mapping[str, Any]) -> bool:
    if not path.is_file():
        return False
    try:
        kept = read_scores_metadata(path)
    except StoreError:
        # Damaged: scored anew.
        return False
    return all(kept.get(name) == value for name, value in made_from.items())
