"""What each setting of the loop does to a whole training."""

import csv
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from sklearn.metrics import roc_auc_score
from tile_cohorts import Cohort
from torch import Tensor

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TrainConfig
from wsi_specdec.errors import ConfigError, ModelError, NotEnoughDataError, StoreError
from wsi_specdec.models import load_model, load_spec, predict_logits, probabilities
from wsi_specdec.store import TileStore
from wsi_specdec.training import checkpoint, fit, train
from wsi_specdec.training.checkpoint import load_checkpoint
from wsi_specdec.training.loop import Reading, _note

CPU = torch.device("cpu")
MakeStore = Callable[..., TileStore]


class Killed(BaseException):
    pass


def run(
    cohort: Cohort, out: Path, config: TrainConfig, rows: list[dict[str, Any]] | None = None
) -> Path:
    kept = [] if rows is None else rows
    return train(
        cohort.stores, cohort.slides, out, config, out.parent / "stain", on_epoch=kept.append
    )


def changed(config: TrainConfig, **changes: object) -> TrainConfig:
    return TrainConfig.model_validate(config.model_dump() | changes)


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


def validation(cohort: Cohort) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    stores = [cohort.stores[s.slide_id] for s in cohort.slides if s.split == "validation"]
    tiles = np.concatenate([store.read(np.arange(store.n_tiles)) for store in stores])
    return tiles, np.concatenate([store.label for store in stores]).astype(np.int64)


def die_at(monkeypatch: pytest.MonkeyPatch, save: int) -> None:
    """Be killed after so many checkpoints."""
    saved = 0

    def counted(*arguments: Any) -> None:  # noqa: ANN401
        nonlocal saved
        checkpoint.save_checkpoint(*arguments)
        saved += 1
        if saved == save:
            raise Killed

    monkeypatch.setattr(fit, "save_checkpoint", counted)


@pytest.mark.parametrize(
    "settings",
    [
        {"average": "ema", "ema_decay": 0.8, "accumulate": 2, "clip_norm": 1.0},
        {"optimiser": "sgd", "average": "swa", "swa_start": 0.4, "keep": "best", "epochs": 5},
        {"optimiser": "sgd", "momentum": 0.0, "patience": 1, "monitor": "val_cross_entropy"},
    ],
    ids=["ema", "swa", "stopping"],
)
def test_a_run_killed_within_epochs_equals_an_uninterrupted_one(
    cohort: Cohort,
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
) -> None:
    config = changed(config, model_args={"drop_rate": 0.3}, **settings)
    whole = run(cohort, tmp_path / "whole", config)
    often = changed(config, checkpoint_minutes=0.0)
    for save in (4, 6):
        with monkeypatch.context() as patch:
            die_at(patch, save)
            with pytest.raises(Killed):
                run(cohort, tmp_path / "parts", often)
    left = load_checkpoint(tmp_path / "parts")
    assert left is not None
    assert left.position.step + 6 * len(left.history) == 10
    parts = run(cohort, tmp_path / "parts", often)
    assert same(weights(whole), weights(parts))
    assert history(whole) == history(parts)
    assert load_spec(whole).temperature == load_spec(parts).temperature


def test_within_an_epoch_checkpoints_are_kept_by_the_clock(
    cohort: Cohort, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def noted(*arguments: Any) -> None:  # noqa: ANN401
        seen.append(arguments[-1].step)

    monkeypatch.setattr(fit, "save_checkpoint", noted)
    run(cohort, tmp_path / "rarely", changed(config, epochs=2))
    assert seen == [0, 0]
    seen.clear()
    run(cohort, tmp_path / "often", changed(config, epochs=1, checkpoint_minutes=0.0))
    assert seen == [1, 2, 3, 4, 5, 0]


def test_three_classes_are_told_apart(
    cohort: Cohort, make_store: MakeStore, config: TrainConfig, tmp_path: Path
) -> None:
    slides = [
        Slide(f"s{i}", Path(f"s{i}.svs"), f"p{i}", 1, "train" if i < 4 else "validation")
        for i in range(6)
    ]
    stores = {s.slide_id: make_store(s.slide_id, [0, 1, 2] * 6) for s in slides}
    three = replace(cohort, slides=slides, stores=stores)
    classes = ("normal", "low", "high")
    out = run(
        three,
        tmp_path / "model",
        changed(config, classes=classes, epochs=8, sd_coef=(0.01, 0.02, 0.03)),
    )
    module, spec = load_model(out, "cpu")
    assert spec.classes == spec.score_names == classes
    tiles, label = validation(three)
    logits = predict_logits(module, spec, tiles, CPU)
    assert logits.shape == (36, 3)
    assert (logits.argmax(axis=1) == label).mean() > 0.9
    expected = roc_auc_score(label, probabilities(logits), multi_class="ovr")
    assert spec.training["metrics"]["auroc"] == pytest.approx(expected, abs=1e-6)
    assert spec.temperature != 1.0
    card = (out / "MODEL_CARD.md").read_text()
    assert "| split | patients | slides | tiles | normal tiles | low tiles | high tiles |" in card
    assert "| train | 4 | 4 | 72 | 24 | 24 | 24 |" in card
    assert "(`sd_coef`) | 0.01, 0.02, 0.03 |" in card


def test_training_stops_early_and_keeps_the_best_epoch(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    # So high a rate after a warm-up that later epochs are worse.
    wild = changed(
        config, epochs=12, lr=0.1, warmup_epochs=6.0, schedule="constant", patience=2,
        keep="best", monitor="val_cross_entropy",
    )  # fmt: skip
    out = run(cohort, tmp_path / "model", wild)
    values = [float(row["val_cross_entropy"]) for row in history(out)]
    assert len(values) < 12
    best = int(np.argmin(values))
    assert best == len(values) - 3
    module, spec = load_model(out, "cpu")
    assert spec.training["epochs"] == {"trained": len(values), "kept": best + 1}
    tiles, label = validation(cohort)
    logits = predict_logits(module, spec, tiles, CPU)[:, 0].astype(np.float64)
    found = float(np.logaddexp(0, np.where(label == 1, -logits, logits)).mean())
    assert found == pytest.approx(values[best], rel=1e-4)
    assert spec.training["metrics"]["cross_entropy"] == values[best]
    assert (
        f"| weights kept | of epoch {best + 1} of {len(values)}, best by"
        in (out / "MODEL_CARD.md").read_text()
    )
    until = changed(wild, epochs=12, keep="last")
    last = run(cohort, tmp_path / "last", until)
    assert history(last) == history(out)
    assert not same(weights(last), weights(out))


def test_epochs_are_compared_only_where_there_is_something_to_compare(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    cohort.slides[:] = [s for s in cohort.slides if s.split == "train"]
    for settings in ({"keep": "best"}, {"patience": 2}):
        with pytest.raises(NotEnoughDataError, match=rf"`{next(iter(settings))}.*'validation'"):
            run(cohort, tmp_path / "model", changed(config, **settings))


def test_the_mean_of_the_weights_is_what_is_validated_and_saved(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    plain = run(cohort, tmp_path / "plain", config)
    out = run(cohort, tmp_path / "ema", changed(config, average="ema", ema_decay=0.9))
    losses = [[row["loss"] for row in history(folder)] for folder in (plain, out)]
    assert losses[0] == losses[1]
    assert not same(weights(plain), weights(out))
    module, spec = load_model(out, "cpu")
    tiles, label = validation(cohort)
    logits = predict_logits(module, spec, tiles, CPU)
    assert roc_auc_score(label, logits[:, 0]) == pytest.approx(spec.training["metrics"]["auroc"])
    assert float(history(out)[-1]["val_auroc"]) == spec.training["metrics"]["auroc"]
    assert "exponential mean of the steps" in (out / "MODEL_CARD.md").read_text()


def test_class_weights_reach_the_loss(cohort: Cohort, config: TrainConfig, tmp_path: Path) -> None:
    base = changed(config, epochs=1, balance_classes=False, sd_coef=0.0)
    balanced = run(cohort, tmp_path / "balanced", changed(base, class_weights="balanced"))
    # 96 tiles, 18 of them positive.
    named = changed(base, class_weights=(96 / (2 * 78), 96 / (2 * 18)))
    assert same(weights(balanced), weights(run(cohort, tmp_path / "named", named)))
    assert not same(weights(balanced), weights(run(cohort, tmp_path / "none", base)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_weights": "balanced"}, "twice"),
        ({"class_weights": (1.0, 2.0, 3.0)}, "`class_weights` has 3 numbers for 2 classes"),
        ({"sd_coef": (1.0,)}, "`sd_coef` has 1 numbers for 2 classes"),
        ({"batch_size": 8, "accumulate": 9}, "8 tiles cannot be cut into 9 parts"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    cohort: Cohort,
    config: TrainConfig,
    tmp_path: Path,
    settings: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(cohort, tmp_path / "model", changed(config, **settings))
    assert not (tmp_path / "model").exists()


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Values by tag and step in TensorBoard's files, which are records of protocol buffers."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
            data = data[16 + length :]
    return found


def test_tensorboard_gets_what_the_history_has(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    out = run(cohort, tmp_path / "model", changed(config, epochs=4))
    found = scalars(out / "tensorboard")
    aurocs = [float(row["val_auroc"]) for row in history(out)]
    assert list(found["validation/val_auroc"]) == [6, 12, 18, 24]
    assert list(found["validation/val_auroc"].values()) == pytest.approx(aurocs, rel=1e-6)
    assert list(found["train/loss"]) == [0, 6, 12, 18]
    assert {"train/mean_abs_logit", "train/lr", "train/tiles_per_s"} <= set(found)
    quiet = run(cohort, tmp_path / "quiet", changed(config, epochs=4, tensorboard=False))
    assert not (quiet / "tensorboard").exists()
    assert same(weights(quiet), weights(out))


def test_grey_networks_are_trained_and_scored_alike(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    grey = changed(config, epochs=6, model_args={"in_chans": 1})
    out = run(cohort, tmp_path / "model", grey)
    module, spec = load_model(out, "cpu")
    tiles, label = validation(cohort)
    logits = predict_logits(module, spec, tiles, CPU)
    assert roc_auc_score(label, logits[:, 0]) > 0.95
    with pytest.raises(ModelError, match="in_chans cannot be 4"):
        run(cohort, tmp_path / "four", changed(config, model_args={"in_chans": 4}))


def test_what_torch_was_set_to_is_restored(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    inside: list[bool] = []

    def look(row: dict[str, Any]) -> None:
        inside.append(torch.are_deterministic_algorithms_enabled())

    for number, wanted in enumerate(("auto", True, False)):
        once = changed(config, epochs=1, deterministic=wanted)
        train(
            cohort.stores, cohort.slides, tmp_path / str(number), once, tmp_path / "s",
            on_epoch=look,
        )  # fmt: skip
    assert inside == [True, True, False]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


def test_the_progress_says_what_matters() -> None:
    reading = Reading(0.1234, 0.1, 0.0234, 1.239, 0.001, 811.6)
    shown = _note(("epoch 2/8", "AUROC 0.912"), reading)
    assert shown == "epoch 2/8 loss 0.123 |logit| 1.24 812 patches/s AUROC 0.912"
    assert _note(("epoch 1/8", ""), reading).endswith("patches/s")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_compiled_network_learns_the_same(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    # Of one block alone, since compiling takes long.
    once = changed(config, model="test_vit", model_args={"depth": 1}, epochs=1, optimiser="sgd")
    plain = weights(run(cohort, tmp_path / "plain", once))
    compiled = weights(run(cohort, tmp_path / "compiled", changed(once, compile=True)))
    assert plain.keys() == compiled.keys()
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name], rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_learns_what_the_cpu_learns(
    cohort: Cohort, config: TrainConfig, tmp_path: Path, precision: str
) -> None:
    settings = {"cache_mb": 0.0, "precision": precision, "average": "ema", "epochs": 4}
    rows = {
        device: history(run(cohort, tmp_path / device, changed(config, device=device, **settings)))
        for device in ("cpu", "cuda")
    }
    for cpu, cuda in zip(rows["cpu"], rows["cuda"], strict=True):
        assert float(cuda["loss"]) == pytest.approx(float(cpu["loss"]), rel=0.05)
    assert float(rows["cuda"][-1]["val_auroc"]) > 0.9


def test_filters_and_sampling_reach_the_loop(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    few = changed(config, epochs=1, max_tiles_per_slide=4, checkpoint_minutes=0.0)
    out = run(cohort, tmp_path / "few", few)
    # Of 6 slides, 3 with two classes: 36 tiles, so 2 steps of 16.
    (step,) = scalars(out / "tensorboard")["validation/val_auroc"]
    assert step == 2
    with pytest.raises(StoreError, match="sharpness"):
        run(cohort, tmp_path / "none", changed(config, quality={"sharpness": (5.0, None)}))
