"""Folders of tile scores, made as the scoring stage makes them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.store import write_scores

MakeScores = Callable[..., Path]


@pytest.fixture
def make_scores(tmp_path: Path) -> MakeScores:
    """Write tile probabilities of slides into a folder, and return it."""

    def make(
        probabilities: Mapping[str, Sequence[float]],
        model: str | None = "m" * 64,
        names: Sequence[str] = ("tumour",),
    ) -> Path:
        folder = tmp_path / "scores"
        for slide_id, values in probabilities.items():
            probs = np.repeat(np.array(values, dtype=np.float32)[:, None], len(names), axis=1)
            coords = np.stack([np.arange(len(values)) * 10, np.zeros(len(values))], axis=1)
            metadata = {} if model is None else {"model_sha256": model}
            path = folder / f"{slide_id}.parquet"
            write_scores(path, coords.astype(np.int64), probs * 0, probs, names, metadata)
        folder.mkdir(exist_ok=True)
        return folder

    return make
