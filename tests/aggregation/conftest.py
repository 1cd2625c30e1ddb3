"""Folders of tile scores, made as the scoring stage makes them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from wsi_specdec.store import EmbeddingsWriter, embeddings_folder, embeddings_path, write_scores

MakeScores = Callable[..., Path]
MakeEmbeddings = Callable[..., Path]


@pytest.fixture
def make_scores(tmp_path: Path) -> MakeScores:
    """Write tile probabilities of slides into a folder, and return it.

    Tiles of 100 px lie side by side at 10 µm a pixel: a square millimetre each.
    """

    def make(
        probabilities: Mapping[str, Sequence[float]],
        model: str | None = "m" * 64,
        names: Sequence[str] = ("tumour",),
        *,
        grid: bool = True,
    ) -> Path:
        folder = tmp_path / "scores"
        for slide_id, values in probabilities.items():
            probs = np.repeat(np.array(values, dtype=np.float32)[:, None], len(names), axis=1)
            coords = np.stack([np.arange(len(values)) * 100, np.zeros(len(values))], axis=1)
            metadata: dict[str, object] = {} if model is None else {"model_sha256": model}
            if grid:
                sizes = {"tile_size_level0_px": 100, "stride_level0_px": 100, "mpp_level0": 10.0}
                metadata |= sizes
            path = folder / f"{slide_id}.parquet"
            write_scores(path, coords.astype(np.int64), probs * 0, probs, names, metadata)
        folder.mkdir(exist_ok=True)
        return folder

    return make


@pytest.fixture
def make_embeddings(make_scores: MakeScores) -> MakeEmbeddings:
    """Write embeddings of slides, and scores of 0.5 for their tiles, and return the latter."""

    def make(embeddings: Mapping[str, ArrayLike], model: str = "m" * 64) -> Path:
        arrays = {name: np.asarray(rows, dtype=np.float32) for name, rows in embeddings.items()}
        scores = make_scores({name: [0.5] * len(rows) for name, rows in arrays.items()}, model)
        for name, rows in arrays.items():
            path = embeddings_path(embeddings_folder(scores), name)
            with EmbeddingsWriter(
                path,
                n_tiles=len(rows),
                n_features=rows.shape[1],
                dtype="float32",
            ) as writer:
                writer.append(rows)
                writer.finish({"model_sha256": model})
        return scores

    return make
