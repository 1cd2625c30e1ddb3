"""Several models score together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from wsi_specdec.config import ScoreConfig, StainConfig
from wsi_specdec.errors import ModelError
from wsi_specdec.models import load_model
from wsi_specdec.scoring import score_stores
from wsi_specdec.scoring.ensemble import Ensemble, Members
from wsi_specdec.stain import fit_store, merge_profiles
from wsi_specdec.store import (
    TileStore,
    read_embeddings,
    read_scores,
    read_scores_metadata,
)
from wsi_specdec.store.calls import positive_scores

MakeStore = Callable[..., TileStore]
MakeModel = Callable[..., Path]
CONFIG = ScoreConfig(device="cpu", batch_size=4)


def score(
    folder: Path, models: Path | list[Path], store: TileStore, config: ScoreConfig = CONFIG
) -> Path:
    score_stores({store.slide_id: store}, models, folder / "scores", config, folder / "stain")
    return folder / "scores" / f"{store.slide_id}.parquet"


def test_the_score_is_the_mean_probability_and_each_models_own_stand_beside(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    store = make_store("a", 6)
    stain = StainConfig(method="macenko")
    target = merge_profiles([fit_store(make_store("reference", 6), stain)]).to_json()
    models = [
        make_model(0, "first", temperature=1.5),
        make_model(1, "second", temperature=0.7, mean=(0.6, 0.5, 0.4)),
        make_model(2, "third", stain=stain, stain_target=target),
    ]
    path = score(tmp_path, models, store)
    table = read_scores(path)
    own = [read_scores(score(tmp_path / str(i), model, store)) for i, model in enumerate(models)]
    for number, alone in enumerate(own, start=1):
        for column in ("logit_tumour", "prob_tumour"):
            got = table[f"model_{number}_{column}"].to_numpy()
            np.testing.assert_array_equal(got, alone[column].to_numpy())
    mean = np.mean([alone["prob_tumour"].to_numpy(np.float64) for alone in own], axis=0)
    np.testing.assert_allclose(table["prob_tumour"], mean, rtol=1e-6)
    np.testing.assert_allclose(table["logit_tumour"], logit(mean), rtol=1e-4, atol=1e-5)
    # Whoever reads scores for a call sees the mean alone.
    np.testing.assert_allclose(positive_scores(path)[1], mean, rtol=1e-6)
    assert np.ptp([alone["prob_tumour"].mean() for alone in own]) > 1e-3


def test_of_several_classes_the_mean_is_a_distribution(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    classes = ("normal", "benign", "malignant")
    models = [make_model(seed, f"m{seed}", classes=classes) for seed in (0, 1)]
    table = read_scores(score(tmp_path, models, make_store("a", 5)))
    probs = table[[f"prob_{name}" for name in classes]].to_numpy(np.float64)
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-6)
    logits = table[[f"logit_{name}" for name in classes]].to_numpy(np.float64)
    np.testing.assert_allclose(softmax(logits, axis=1), probs, rtol=1e-5)


def test_certain_models_have_finite_logits(make_model: MakeModel) -> None:
    members = Members.of([make_model(seed, f"m{seed}", temperature=1.0) for seed in (0, 1)])
    ensemble = Ensemble.load(members, CONFIG)
    sure = np.array([[300.0], [-300.0], [300.0], [0.0]], np.float32)
    other = np.array([[200.0], [-250.0], [-300.0], [2.0]], np.float32)
    logits, probs, _ = ensemble.columns([sure, other])
    mean = (0.5 + expit(2.0)) / 2
    expected = [200 + np.log(2), -250 - np.log(2), 0, logit(mean)]
    np.testing.assert_allclose(logits[:, 0], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(probs[:, 0], [1, 0, 0.5, mean], atol=1e-7)


def test_embeddings_of_several_models_stand_side_by_side(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    config = CONFIG.model_copy(update={"embeddings": True})
    store = make_store("a", 6)
    models = [make_model(0, "first"), make_model(1, "second", arch="test_vit", arch_args={})]
    path = score(tmp_path, models, store, config)
    together = read_embeddings(tmp_path / "embeddings" / "a.zarr")
    alone = []
    for number, model in enumerate(models):
        score(tmp_path / str(number), model, store, config)
        alone.append(read_embeddings(tmp_path / str(number) / "embeddings" / "a.zarr"))
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))
    assert read_scores_metadata(path)["embedding_sizes"] == [part.shape[1] for part in alone]


def test_an_ensemble_is_another_scorer_than_any_of_its_models(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    store, models = make_store("a", 2), [make_model(seed, f"m{seed}") for seed in (0, 1)]
    hashes = [
        read_scores_metadata(score(tmp_path, given, store))["model_sha256"]
        for given in (models[0], models[1], models, models[::-1])
    ]
    assert len(set(hashes)) == 4
    before = score(tmp_path, models[::-1], store).stat().st_mtime_ns
    assert score(tmp_path, models[::-1], store).stat().st_mtime_ns == before


def test_models_that_do_not_go_together_are_refused(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    first, twin = make_model(0, "first"), make_model(0, "twin")
    others = {
        "classes": make_model(1, "graded", classes=("normal", "a", "b")),
        "tile_size": make_model(1, "large", tile_size=48),
        "given twice": twin,
    }
    for words, other in others.items():
        with pytest.raises(ModelError, match=words) as caught:
            score(tmp_path, [first, other], make_store("a", 1))
        assert str(other) in str(caught.value)
    with pytest.raises(ModelError, match="needs a model"):
        score(tmp_path, [], make_store("a", 1))
    assert load_model(first, "cpu")[1].tile_size == 32
    assert not (tmp_path / "scores").exists()
