from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax

from wsi_specdec.config import ScoreConfig, StainConfig
from wsi_specdec.errors import ModelError
from wsi_specdec.models import load_model, predict_logits, save_model
from wsi_specdec.scoring import score_stores
from wsi_specdec.stain import fit_store, merge_profiles, normalise
from wsi_specdec.store import TileStore, read_scores, read_scores_metadata

MakeStore = Callable[..., TileStore]
MakeModel = Callable[..., Path]


def score(folder: Path, model: Path, *stores: TileStore, batch_size: int = 256) -> Path:
    by_id = {store.slide_id: store for store in stores}
    config = ScoreConfig(batch_size=batch_size, device="cpu")
    score_stores(by_id, model, folder / "scores", config, folder / "stain")
    return folder / "scores"


def expected_logits(model: Path, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    module, spec = load_model(model, "cpu")
    return predict_logits(module, spec, tiles, torch.device("cpu"))


def times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_scores_are_the_models_logits_tile_by_tile(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore, batch_size: int
) -> None:
    model, stores = make_model(), [make_store("a", 10), make_store("b", 3)]
    out = score(tmp_path, model, *stores, batch_size=batch_size)
    assert sorted(p.name for p in out.iterdir()) == ["a.parquet", "b.parquet"]
    for store in stores:
        table = read_scores(out / f"{store.slide_id}.parquet")
        assert list(table.columns) == ["x", "y", "logit_tumour", "prob_tumour"]
        np.testing.assert_array_equal(table[["x", "y"]], store.coords)
        logits = expected_logits(model, store.read(np.arange(store.n_tiles)))
        np.testing.assert_allclose(table["logit_tumour"], logits[:, 0], rtol=1e-4, atol=1e-5)
        calibrated = expit(table["logit_tumour"].to_numpy(np.float64) / 1.5)
        np.testing.assert_allclose(table["prob_tumour"], calibrated, rtol=1e-6)


def test_several_classes_are_scored_each(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    model = make_model(classes=("normal", "benign", "malignant"))
    table = read_scores(score(tmp_path, model, make_store("a", 4)) / "a.parquet")
    names = ["normal", "benign", "malignant"]
    logits = table[[f"logit_{name}" for name in names]].to_numpy(np.float64)
    probs = table[[f"prob_{name}" for name in names]].to_numpy()
    np.testing.assert_allclose(probs, softmax(logits / 1.5, axis=1), rtol=1e-5)


def test_a_store_without_tiles_gets_a_file_without_rows(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    table = read_scores(score(tmp_path, make_model(), make_store("a", 0)) / "a.parquet")
    assert len(table) == 0
    assert list(table.columns) == ["x", "y", "logit_tumour", "prob_tumour"]


def test_tiles_are_brought_to_the_models_stains_by_their_own_slides_profile(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    stain = StainConfig(method="macenko")
    stores = [make_store("a", 6), make_store("b", 6)]
    target = merge_profiles([fit_store(make_store("reference", 6), stain)])
    model = make_model(stain=stain, stain_target=target.to_json())
    out = score(tmp_path, model, *stores)
    for store in stores:
        tiles = store.read(np.arange(6))
        normalised = normalise(tiles, fit_store(store, stain), target)
        got = read_scores(out / f"{store.slide_id}.parquet")["logit_tumour"]
        expected = expected_logits(model, normalised)[:, 0]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(expected - expected_logits(model, tiles)[:, 0]).max() > 1e-2


@pytest.mark.parametrize(("size", "mpp"), [(48, 0.5), (32, 0.6)])
def test_tiles_that_do_not_fit_are_refused_before_any_work(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore, size: int, mpp: float
) -> None:
    model, fitting = make_model(), make_store("a", 2)
    with pytest.raises(ModelError) as caught:
        score(tmp_path, model, fitting, make_store("b", 2, size=size, mpp=mpp))
    assert str(model) in str(caught.value)
    assert "b.zarr" in str(caught.value)
    assert not (tmp_path / "scores").exists()


def test_tiles_of_unknown_or_close_resolution_are_scored(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    stores = [make_store("a", 2, mpp=None), make_store("b", 2, mpp=0.52)]
    assert len(times(score(tmp_path, make_model(), *stores))) == 2


def test_what_is_scored_is_not_scored_again(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    model, a, b = make_model(), make_store("a", 3), make_store("b", 3)
    before = times(score(tmp_path, model, a))
    after = times(score(tmp_path, model, a, b))
    assert after["a.parquet"] == before["a.parquet"]
    # Nothing is left to do, so that not even the weights are needed.
    (model / "weights.safetensors").unlink()
    assert times(score(tmp_path, model, a, b)) == after


def test_another_model_store_or_temperature_is_scored_again(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    store = make_store("a", 3)
    seen = [
        read_scores(score(tmp_path, make_model(seed, temperature=t), store) / "a.parquet")
        for seed, t in ((0, 1.0), (1, 1.0), (1, 3.0))
    ]
    assert not seen[0]["logit_tumour"].equals(seen[1]["logit_tumour"])
    assert seen[1]["logit_tumour"].equals(seen[2]["logit_tumour"])
    assert not seen[1]["prob_tumour"].equals(seen[2]["prob_tumour"])
    before = times(tmp_path / "scores")
    score(tmp_path, tmp_path / "model", make_store("a", 3, params="other"))
    assert times(tmp_path / "scores") != before
    assert read_scores_metadata(tmp_path / "scores" / "a.parquet")["params_sha256"] == "other"


def test_a_models_notes_on_its_training_are_no_reason_to_score_again(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    model, store = make_model(), make_store("a", 3)
    before = times(score(tmp_path, model, store))
    module, spec = load_model(model, "cpu")
    save_model(model, module, spec.model_copy(update={"training": {"note": "new"}}))
    assert times(score(tmp_path, model, store)) == before


def test_a_damaged_file_is_scored_again(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    model, store = make_model(), make_store("a", 3)
    file = score(tmp_path, model, store) / "a.parquet"
    file.write_bytes(file.read_bytes()[:100])
    score(tmp_path, model, store)
    assert len(read_scores(file)) == 3


def test_a_missing_model_is_one_clear_error(tmp_path: Path, make_store: MakeStore) -> None:
    with pytest.raises(ModelError, match="no model in"):
        score(tmp_path, tmp_path / "absent", make_store("a", 1))
