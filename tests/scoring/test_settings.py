"""What `ScoreConfig` asks for: precision, symmetries, filters, embeddings; and what is redone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsi_specdec.config import ScoreConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.models import Predictor, load_model
from wsi_specdec.scoring import StoreSource, score_sources, score_stores
from wsi_specdec.scoring.sources import StoreStream
from wsi_specdec.store import (
    TileStore,
    read_embeddings,
    read_embeddings_metadata,
    read_scores,
    read_scores_metadata,
)

MakeStore = Callable[..., TileStore]
MakeModel = Callable[..., Path]


def score(folder: Path, model: Path, store: TileStore, **settings: Any) -> Path:  # noqa: ANN401
    config = ScoreConfig(device="cpu", **settings)
    score_stores({store.slide_id: store}, model, folder / "scores", config, folder / "stain")
    return folder / "scores" / f"{store.slide_id}.parquet"


def logits_of(path: Path) -> NDArray[np.float32]:
    return read_scores(path)["logit_tumour"].to_numpy(np.float32)


@pytest.mark.parametrize(("precision", "symmetries"), [("bfloat16", 1), ("float32", 8)])
def test_precision_and_symmetries_are_those_of_the_predictor(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore, precision: str, symmetries: int
) -> None:
    model, store = make_model(), make_store("a", 7)
    asked = {"precision": precision, "symmetries": symmetries, "batch_size": 7}
    path = score(tmp_path, model, store, **asked)
    module, spec = load_model(model, "cpu")
    predictor = Predictor(module, spec, precision, symmetries)  # type: ignore[arg-type]
    expected = predictor(torch.from_numpy(store.read(np.arange(7)))).logits[:, 0].numpy()
    np.testing.assert_array_equal(logits_of(path), expected)
    plain = logits_of(score(tmp_path / "plain", model, store, batch_size=7))
    assert np.abs(plain - expected).max() > 1e-5
    kept = read_scores_metadata(path)
    assert kept["settings"]["precision"] == precision
    assert kept["settings"]["symmetries"] == symmetries


def test_on_the_cpu_the_default_is_float32(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    path = score(tmp_path, make_model(), make_store("a", 1))
    assert read_scores_metadata(path)["settings"]["precision"] == "float32"


def test_an_aggregator_of_plain_scores_does_not_fit_augmented_ones(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    model, store = make_model(), make_store("a", 2)
    hashes = {
        n: read_scores_metadata(score(tmp_path / str(n), model, store, symmetries=n))
        for n in (1, 2)
    }
    assert hashes[1]["models"] == hashes[2]["models"] == [hashes[1]["model_sha256"]]
    assert hashes[1]["model_sha256"] != hashes[2]["model_sha256"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"min_tissue": 0.5}, [0, 2, 3, 4]),
        ({"quality": {"sharpness": (20, None)}}, [1, 2, 4]),
        ({"quality": {"sharpness": (None, 20), "pen": (None, 0.5)}}, [0, 2]),
        ({"min_tissue": 0.5, "quality": {"sharpness": (20, 30)}}, [2, 4]),
        ({"min_tissue": 1.0}, []),
    ],
)
def test_filtered_tiles_have_no_row(
    tmp_path: Path,
    make_model: MakeModel,
    make_store: MakeStore,
    settings: dict[str, Any],
    expected: list[int],
) -> None:
    measures = {"sharpness": [10, 25, 20, np.nan, 30], "pen": [0, 0, 0.5, 0, 0.6]}
    store = make_store("a", 5, tissue=[0.5, 0.4, 0.6, 0.9, 0.8], quality=measures)
    model = make_model()
    path = score(tmp_path, model, store, embeddings=True, batch_size=2, **settings)
    table = read_scores(path)
    np.testing.assert_array_equal(table[["x", "y"]], store.coords[expected])
    every = logits_of(score(tmp_path / "all", model, store, batch_size=2))
    np.testing.assert_allclose(logits_of(path), every[expected], rtol=1e-4, atol=1e-5)
    assert len(read_embeddings(tmp_path / "embeddings" / "a.zarr")) == len(expected)
    assert read_scores_metadata(path)["n_tiles"] == len(expected)
    assert ("min_tissue" in read_scores_metadata(path)["reason"]) == (not expected)


def test_a_measure_that_was_not_taken_is_named(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    with pytest.raises(StoreError, match=r"'blur'.*they have none"):
        score(tmp_path, make_model(), make_store("a", 2), quality={"blur": (0, None)})


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_embeddings_are_the_networks_features_row_by_row(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore, dtype: str
) -> None:
    model, store = make_model(), make_store("a", 7)
    asked = {"embeddings": True, "embeddings_dtype": dtype, "batch_size": 3}
    path = score(tmp_path, model, store, **asked)
    module, spec = load_model(model, "cpu")
    expected = Predictor(module, spec, embeds=True)(torch.from_numpy(store.read(np.arange(7))))
    assert expected.embeddings is not None
    got = read_embeddings(tmp_path / "embeddings" / "a.zarr")
    rounding = 1e-3 if dtype == "float16" else 1e-4
    np.testing.assert_allclose(got, expected.embeddings.numpy(), rtol=rounding, atol=1e-4)
    kept = read_embeddings_metadata(tmp_path / "embeddings" / "a.zarr")
    assert kept == read_scores_metadata(path)
    assert kept["embedding_sizes"] == [got.shape[1]]
    # Its scores are those of a run without embeddings.
    plain = score(tmp_path / "plain", model, store, batch_size=3)
    np.testing.assert_array_equal(logits_of(plain), logits_of(path))


def test_embeddings_asked_for_later_are_made_and_go_with_scores_that_change(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    model, store = make_model(), make_store("a", 3)
    group = tmp_path / "embeddings" / "a.zarr"
    path = score(tmp_path, model, store)
    assert not group.exists()
    score(tmp_path, model, store, embeddings=True)
    first = read_embeddings(group)
    scored = path.stat().st_mtime_ns
    # Not asked for, they stay; asked for again, they are not made again.
    score(tmp_path, model, store)
    score(tmp_path, model, store, embeddings=True)
    assert path.stat().st_mtime_ns == scored
    # Another type is made anew, and other scores never keep the embeddings of the former.
    score(tmp_path, model, store, embeddings=True, embeddings_dtype="float32")
    assert not np.array_equal(read_embeddings(group), first)
    score(tmp_path, model, store, symmetries=2)
    assert not group.exists()
    # Embeddings of another run are not taken for those of these scores.
    score(tmp_path, model, store, symmetries=2, embeddings=True)
    (group / "zarr.json").write_text((group / "zarr.json").read_text().replace("min_tissue", "m"))
    before = path.stat().st_mtime_ns
    score(tmp_path, model, store, symmetries=2, embeddings=True)
    assert path.stat().st_mtime_ns != before


def test_where_tiles_lie_is_stated(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    more = {"tile_size_level0_px": 64, "stride_px": 24, "mpp_level0": 0.25}
    kept = read_scores_metadata(score(tmp_path, make_model(), make_store("a", 2, more=more)))
    names = ("tile_size_level0_px", "stride_level0_px", "mpp_level0", "n_tiles", "slide_id")
    assert [kept[name] for name in names] == [64, 48, 0.25, 2, "a"]
    plain = read_scores_metadata(score(tmp_path, make_model(), make_store("b", 2)))
    assert [plain[name] for name in names] == [32, 32, None, 2, "b"]


@pytest.mark.parametrize(
    "change",
    [
        {"symmetries": 2},
        {"precision": "bfloat16"},
        {"min_tissue": 0.1},
        {"quality": {"pen": (None, 2.0)}},
    ],
)
def test_other_settings_score_again_but_the_batch_does_not(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore, change: dict[str, Any]
) -> None:
    model, store = make_model(), make_store("a", 3, quality={"pen": np.zeros(3)})
    before = score(tmp_path, model, store).stat().st_mtime_ns
    assert score(tmp_path, model, store, batch_size=1).stat().st_mtime_ns == before
    assert score(tmp_path, model, store, **change).stat().st_mtime_ns != before


class ShuffledSource(StoreSource):
    """A store that is best read in an order of its own, as a slide's strips are."""

    def open(self, threads: int) -> StoreStream:
        return ShuffledStream(self.store, threads)


class ShuffledStream(StoreStream):
    def order(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.random.default_rng(0).permutation(rows)


def test_rows_stay_in_order_whatever_order_tiles_are_read_in(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    store = make_store("a", 23, tissue=np.arange(23) % 4 / 3)
    model, stain = make_model(), tmp_path / "stain"
    config = ScoreConfig(device="cpu", batch_size=5, min_tissue=0.2, embeddings=True)
    tables, embedded = [], []
    for name, source in (("plain", StoreSource(store)), ("shuffled", ShuffledSource(store))):
        out = tmp_path / name / "scores"
        assert score_sources([source], [model], out, config, stain).ok
        tables.append(read_scores(out / "a.parquet"))
        embedded.append(read_embeddings(tmp_path / name / "embeddings" / "a.zarr"))
    assert len(tables[0]) == 17
    np.testing.assert_array_equal(tables[1][["x", "y"]], tables[0][["x", "y"]])
    np.testing.assert_allclose(tables[1]["logit_tumour"], tables[0]["logit_tumour"], rtol=1e-4)
    np.testing.assert_allclose(embedded[1], embedded[0], rtol=2e-3, atol=1e-4)
    assert np.abs(np.diff(embedded[0], axis=0)).max(axis=1).min() > 1e-2
