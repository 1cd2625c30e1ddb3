import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store import (
    EmbeddingsWriter,
    embeddings_folder,
    embeddings_path,
    read_embeddings,
    read_embeddings_metadata,
)
from wsi_specdec.store.embeddings import Dtype

METADATA = {"slide_id": "s", "n_tiles": 5, "mpp_level0": None, "nested": {"models": ["a", "b"]}}


def rows(n: int, width: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)


def write(path: Path, parts: list[NDArray[np.float32]], n: int, dtype: Dtype = "float32") -> None:
    with EmbeddingsWriter(path, n_tiles=n, n_features=3, dtype=dtype) as writer:
        for part in parts:
            writer.append(part)
        writer.finish(METADATA)


def test_they_lie_beside_the_scores() -> None:
    folder = embeddings_folder(Path("run") / "scores")
    assert embeddings_path(folder, "a.b") == Path("run") / "embeddings" / "a.b.zarr"


@pytest.mark.parametrize("sizes", [[], [5], [1, 4], [1000, 40, 1024, 7], [1024], [2048, 1]])
def test_rows_come_back_in_order_whatever_parts_they_came_in(
    tmp_path: Path, sizes: list[int]
) -> None:
    values = rows(sum(sizes))
    parts = np.split(values, np.cumsum(sizes)[:-1]) if sizes else []
    path = tmp_path / "embeddings" / "s.zarr"
    write(path, list(parts), len(values))
    got = read_embeddings(path)
    assert got.dtype == np.float32
    assert np.array_equal(got, values)
    assert got.shape == (len(values), 3)
    assert read_embeddings_metadata(path) == METADATA
    assert [p.name for p in path.parent.iterdir()] == ["s.zarr"]


def test_half_precision_rounds_and_any_zarr_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", [rows(5)], 5, "float16")
    array = zarr.open_group(tmp_path / "s.zarr", mode="r")["embeddings"]
    assert isinstance(array, zarr.Array)
    assert array.dtype == np.float16
    assert json.loads((tmp_path / "s.zarr" / "zarr.json").read_text())["zarr_format"] == 3
    np.testing.assert_allclose(read_embeddings(tmp_path / "s.zarr"), rows(5), rtol=2**-11)


@pytest.mark.parametrize("value", [7e4, np.nan, np.inf])
def test_what_the_type_cannot_hold_is_refused_and_leaves_nothing(
    tmp_path: Path, value: float
) -> None:
    bad = rows(2)
    bad[1, 2] = value
    with pytest.raises(StoreError, match="float16"):
        write(tmp_path / "s.zarr", [bad], 2, "float16")
    assert not list(tmp_path.iterdir())
    if np.isfinite(value):
        write(tmp_path / "s.zarr", [bad], 2, "float32")
        assert np.array_equal(read_embeddings(tmp_path / "s.zarr"), bad)


def test_missing_wide_or_more_rows_are_refused_and_the_old_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    write(path, [rows(4)], 4)
    for parts in ([rows(3)], [rows(4), rows(1)], [rows(4, width=2)]):
        with pytest.raises(StoreError):
            write(path, parts, 4)
    with (
        pytest.raises(StoreError, match=r"before finish\(\)"),
        EmbeddingsWriter(path, n_tiles=0, n_features=3),
    ):
        pass
    assert np.array_equal(read_embeddings(path), rows(4))
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    absent, foreign, torn = (tmp_path / name for name in ("a.zarr", "f.zarr", "t.zarr"))
    zarr.create_group(foreign).create_array("embeddings", data=np.zeros(3))
    write(torn, [rows(4)], 4)
    (torn / "embeddings" / "zarr.json").write_text("{")
    for path in (absent, foreign, torn):
        with pytest.raises(StoreError, match="embeddings: true") as caught:
            read_embeddings(path)
        assert str(path) in str(caught.value)
    with pytest.raises(StoreError, match="no readable tile embeddings"):
        read_embeddings_metadata(absent)
