import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from safetensors.torch import load
from sklearn.metrics import log_loss, roc_auc_score
from tile_cohorts import Cohort
from torch import Tensor

from wsi_specdec.config import StainConfig, TrainConfig
from wsi_specdec.errors import ConfigError, ModelError, SettingsMismatchError
from wsi_specdec.models import load_model, load_spec, predict_logits, probabilities
from wsi_specdec.stain import fit_store, merge_profiles
from wsi_specdec.store import TileStore
from wsi_specdec.training import fit_temperature, train
from wsi_specdec.training.optimiser import learning_rate


class MakeStore(Protocol):
    def __call__(
        self, name: str, label: list[int], *, size: int = 32, mpp: float = 0.5
    ) -> TileStore: ...


class Killed(BaseException):
    pass


def run(cohort: Cohort, out: Path, config: TrainConfig, stop_after: int | None = None) -> Path:
    """Train; be killed once epoch `stop_after` is written."""

    def on_epoch(row: dict[str, Any]) -> None:
        if row["epoch"] == stop_after:
            raise Killed

    return train(cohort.stores, cohort.slides, out, config, out.parent / "stain", on_epoch=on_epoch)


def weights(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load((folder / "weights.safetensors").read_bytes())
    return tensors


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["tiles_per_s"]
    return rows


def changed(config: TrainConfig, **changes: object) -> TrainConfig:
    return config.model_copy(update=changes)


def test_an_easy_task_is_learned_and_everything_is_written(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    config = changed(config, epochs=6, pictures=True)
    out = run(cohort, tmp_path / "model", config)
    assert sorted(p.name for p in out.iterdir()) == [
        "MODEL_CARD.md",
        "augmentations.png",
        "curves.png",
        "history.csv",
        "model.json",
        "tensorboard",
        "weights.safetensors",
    ]
    module, spec = load_model(out, "cpu")
    assert (spec.arch, spec.tile_size, spec.mpp) == ("test_resnet", 32, 0.5)
    validation = [s for s in cohort.slides if s.split == "validation"]
    stores = [cohort.stores[s.slide_id] for s in validation]
    tiles = np.concatenate([store.read(np.arange(store.n_tiles)) for store in stores])
    label = np.concatenate([store.label for store in stores])
    logits = predict_logits(module, spec, tiles, torch.device("cpu"))
    metrics = spec.training["metrics"]
    assert metrics["auroc"] == pytest.approx(roc_auc_score(label, logits[:, 0]))
    assert metrics["auroc"] > 0.95
    calibrated = log_loss(label, probabilities(logits, spec.temperature)[:, 0].astype(float))
    assert metrics["cross_entropy_calibrated"] == pytest.approx(calibrated, rel=1e-3)
    assert calibrated <= metrics["cross_entropy"] + 1e-6
    assert spec.temperature == pytest.approx(fit_temperature(logits[:, 0], label), rel=1e-3)
    assert abs(spec.temperature - 1) > 0.01
    rows = history(out)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert float(rows[-1]["cross_entropy"]) < 0.7 * float(rows[0]["cross_entropy"])
    assert float(rows[-1]["val_auroc"]) == metrics["auroc"]
    last_steps = [learning_rate(6 * epoch + 5, 6, config) for epoch in range(6)]
    assert [float(row["lr"]) for row in rows] == last_steps
    card = (out / "MODEL_CARD.md").read_text()
    assert "| split | patients | slides | tiles | normal tiles | tumour tiles |" in card
    assert "| train | 6 | 6 | 96 | 78 | 18 |" in card
    assert "| validation | 4 | 4 | 64 | 52 | 12 |" in card
    assert "| weights kept | of epoch 6 of 6 |" in card
    assert f"| auroc | {metrics['auroc']:.4f} |" in card
    assert "| spectral decoupling λ (`sd_coef`) | 0.01 |" in card
    assert "| weight decay | 0.01 |" in card
    assert str(tmp_path) not in (out / "model.json").read_text() + card


def test_a_run_killed_and_resumed_equals_an_uninterrupted_one(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    config = changed(config, model_args={"drop_rate": 0.3})
    whole = run(cohort, tmp_path / "whole", config)
    for stop_after in (1, 3):
        with pytest.raises(Killed):
            run(cohort, tmp_path / "parts", config, stop_after)
        assert not (tmp_path / "parts" / "model.json").exists()
    parts = run(cohort, tmp_path / "parts", config)
    assert same(weights(whole), weights(parts))
    assert history(whole) == history(parts)
    assert load_spec(whole).temperature == load_spec(parts).temperature


def test_the_seed_decides_everything(cohort: Cohort, config: TrainConfig, tmp_path: Path) -> None:
    config = changed(config, epochs=1)
    torch.manual_seed(5)
    first = run(cohort, tmp_path / "first", config)
    state = torch.get_rng_state()
    torch.manual_seed(6)
    again = run(cohort, tmp_path / "again", config)
    other = run(cohort, tmp_path / "other", changed(config, seed=1))
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)


def test_tiles_from_memory_train_as_tiles_from_disk(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    config = changed(config, epochs=2)
    disk = run(cohort, tmp_path / "disk", changed(config, cache_mb=0.0))
    memory = run(cohort, tmp_path / "memory", config)
    assert same(weights(disk), weights(memory))


def test_a_finished_run_returns_at_once(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    config = changed(config, epochs=1)
    out = run(cohort, tmp_path / "model", config)
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    again = changed(config, device="cpu", cache_mb=0.0)
    assert run(cohort, out, again, stop_after=1) == out
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before


def test_a_model_whose_weights_were_lost_is_trained_again(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    config = changed(config, epochs=1)
    out = run(cohort, tmp_path / "model", config)
    before = weights(out)
    (out / "weights.safetensors").write_bytes(b"damaged")
    run(cohort, out, config)
    assert same(weights(out), before)


def test_other_settings_in_the_same_folder_are_refused(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    config = changed(config, epochs=2)
    out = tmp_path / "model"
    other = changed(config, lr=1e-4, stain=StainConfig(min_od=0.2))
    relabelled = [replace(s, split="train") for s in cohort.slides]
    with pytest.raises(Killed):
        run(cohort, out, config, stop_after=1)
    for _ in ("half done", "finished"):
        with pytest.raises(SettingsMismatchError) as caught:
            run(cohort, out, other)
        assert "lr: 0.003 -> 0.0001" in str(caught.value)
        assert "stain.min_od: 0.15 -> 0.2" in str(caught.value)
        assert "batch_size" not in str(caught.value)
        with pytest.raises(SettingsMismatchError, match=r"tiles\.train: \w+ -> "):
            train(cohort.stores, relabelled, out, config, tmp_path / "stain")
        run(cohort, out, config)


def test_a_damaged_checkpoint_is_named(cohort: Cohort, config: TrainConfig, tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(Killed):
        run(cohort, out, config, stop_after=1)
    (file,) = (out / "checkpoint").iterdir()
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match=str(file)):
        run(cohort, out, config)


def test_what_a_kill_left_half_written_is_removed(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    (out / "checkpoint").mkdir(parents=True)
    for folder in (out, out / "checkpoint"):
        (folder / ".0a.partial.weights.safetensors").write_bytes(b"half")
    run(cohort, out, changed(config, epochs=1))
    assert not list(out.rglob("*partial*"))


def test_spectral_decoupling_keeps_logits_small(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    rows = {
        sd_coef: history(run(cohort, tmp_path / f"sd{sd_coef}", changed(config, sd_coef=sd_coef)))
        for sd_coef in (0.0, 2.0)
    }
    assert float(rows[2.0][-1]["mean_abs_logit"]) < 0.5 * float(rows[0.0][-1]["mean_abs_logit"])
    assert all(float(row["logit_penalty"]) == 0 for row in rows[0.0])
    assert all(row["loss"] == row["cross_entropy"] for row in rows[0.0])
    assert all(float(row["logit_penalty"]) > 0 for row in rows[2.0])


def test_the_stain_target_is_of_the_training_slides_alone(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    stain = StainConfig(method="macenko")
    out = run(cohort, tmp_path / "model", changed(config, epochs=1, stain=stain))
    spec = load_spec(out)
    trained = [cohort.stores[s.slide_id] for s in cohort.slides if s.split == "train"]
    expected = merge_profiles([fit_store(store, stain) for store in trained])
    assert spec.stain_target == load_spec(out).stain_target
    assert spec.stain_target is not None
    assert spec.stain_target["max_concentrations"] == list(expected.max_concentrations)
    assert spec.stain == stain


def test_without_validation_slides_nothing_is_calibrated(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    slides = [s for s in cohort.slides if s.split == "train"]
    out = train(
        cohort.stores, slides, tmp_path / "model", changed(config, epochs=1), tmp_path / "stain"
    )
    assert load_spec(out).temperature == 1.0
    assert load_spec(out).training["metrics"] == {"auroc": None, "cross_entropy": None}
    assert history(out)[0]["val_auroc"] == ""
    assert "no validation tiles" in (out / "MODEL_CARD.md").read_text()


def test_bfloat16_learns_too(cohort: Cohort, config: TrainConfig, tmp_path: Path) -> None:
    low = changed(config, epochs=1, precision="bfloat16")
    rows = history(run(cohort, tmp_path / "low", low))
    full = history(run(cohort, tmp_path / "full", changed(config, epochs=1)))
    assert rows != full
    assert float(rows[0]["loss"]) == pytest.approx(float(full[0]["loss"]), rel=0.1)


def test_training_starts_from_the_weights_given(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    first = run(cohort, tmp_path / "first", changed(config, epochs=1))
    still = changed(config, epochs=1, lr=1e-12, init=first, seed=7)
    second = run(cohort, tmp_path / "second", still)
    before, after = weights(first), weights(second)
    learned = [k for k in before if "running" not in k and "tracked" not in k]
    assert all(torch.allclose(after[k], before[k], atol=1e-9) for k in learned)
    kept = load_spec(second).training["settings"]["init"]
    assert len(kept) == 64
    with pytest.raises(ConfigError, match="not from both"):
        run(cohort, tmp_path / "third", changed(still, pretrained=True))
    with pytest.raises(ModelError, match="absent"):
        run(cohort, tmp_path / "third", changed(still, init=tmp_path / "absent"))


def test_a_run_that_diverges_says_so(cohort: Cohort, config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lower the lr"):
        run(cohort, tmp_path / "model", changed(config, lr=1e30))
    assert not (tmp_path / "model" / "model.json").exists()


@pytest.mark.parametrize(("size", "mpp"), [(16, 0.5), (32, 1.0)])
def test_stores_that_differ_are_refused(
    cohort: Cohort,
    config: TrainConfig,
    make_store: MakeStore,
    tmp_path: Path,
    size: int,
    mpp: float,
) -> None:
    cohort.stores["s8"] = make_store("s8", [0] * 4, size=size, mpp=mpp)
    with pytest.raises(ModelError, match=r"s8\.zarr"):
        run(cohort, tmp_path / "model", config)
