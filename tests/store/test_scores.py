from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from wsi_specdec.errors import StoreError
from wsi_specdec.store import read_scores, read_scores_metadata, write_scores

METADATA = {"model_sha256": "abc", "nested": {"classes": ["normal", "tumour"], "tile": 50}}


def scores(n: int, k: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "coords": rng.integers(0, 2**40, (n, 2)),
        "logits": rng.normal(size=(n, k)).astype(np.float32),
        "probs": rng.uniform(size=(n, k)).astype(np.float32),
    }


@pytest.mark.parametrize(("n", "names"), [(5, ["tumour"]), (3, ["a", "b", "c"]), (0, ["tumour"])])
def test_scores_come_back(tmp_path: Path, n: int, names: list[str]) -> None:
    path = tmp_path / "scores" / "s.parquet"
    given = scores(n, len(names))
    write_scores(path, **given, names=names, metadata=METADATA)
    frame = read_scores(path)
    logits, probs = [f"logit_{x}" for x in names], [f"prob_{x}" for x in names]
    assert list(frame.columns) == ["x", "y", *logits, *probs]
    assert [str(t) for t in frame.dtypes] == ["int64"] * 2 + ["float32"] * 2 * len(names)
    assert np.array_equal(frame[["x", "y"]].to_numpy(), given["coords"])
    assert np.array_equal(frame[logits].to_numpy(), given["logits"])
    assert np.array_equal(frame[probs].to_numpy(), given["probs"])
    assert read_scores_metadata(path) == METADATA
    assert [p.name for p in path.parent.iterdir()] == ["s.parquet"]


def test_other_readers_see_plain_columns(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.parquet", **scores(4, 1), names=["tumour"], metadata={})
    table = pq.read_table(tmp_path / "s.parquet")
    assert table.schema.names == ["x", "y", "logit_tumour", "prob_tumour"]
    assert table.num_rows == 4


@pytest.mark.parametrize(
    "change",
    [
        {"coords": np.zeros((3, 2), np.int64)},
        {"coords": np.zeros((4, 3), np.int64)},
        {"logits": np.zeros((4, 2), np.float32)},
        {"probs": np.zeros(4, np.float32)},
    ],
)
def test_contradicting_shapes_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "s.parquet"
    with pytest.raises(StoreError, match="contradict"):
        write_scores(path, **{**scores(4, 1), **change}, names=["tumour"], metadata={})
    assert not path.exists()


def test_failing_leaves_the_old_scores(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_scores(path, **scores(4, 1), names=["tumour"], metadata={"n": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_scores(path, **scores(4, 1), names=["tumour"], metadata={"n": float("nan")})
    assert read_scores_metadata(path) == {"n": 1}


@pytest.mark.parametrize("keep", [None, 0, 40, 0.5])
def test_what_is_no_scores_file_is_named(tmp_path: Path, keep: float | None) -> None:
    path = tmp_path / "s.parquet"
    if keep is not None:
        write_scores(path, **scores(50, 1), names=["tumour"], metadata={})
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep) if keep == 0.5 else int(keep)])
    for read in (read_scores, read_scores_metadata):
        with pytest.raises(StoreError, match="no readable tile scores") as caught:
            read(path)
        assert str(path) in str(caught.value)
