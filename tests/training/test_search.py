"""λ and the weight decay are chosen on validation, at one budget, and by nothing else."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
from programs import run_group
from safetensors.torch import load
from sklearn.metrics import roc_auc_score
from tile_cohorts import Cohort
from torch import Tensor

from wsi_specdec.cli.app import make_app
from wsi_specdec.cohort import Slide, write_manifest
from wsi_specdec.config import (
    ArmConfig,
    SearchConfig,
    TrainConfig,
)
from wsi_specdec.errors import ConfigError, LeakError, NotEnoughDataError, SettingsMismatchError
from wsi_specdec.models import load_model, load_spec, predict_logits
from wsi_specdec.steps import train as step
from wsi_specdec.store import TileStore
from wsi_specdec.studies import ArmRun, arm_settings
from wsi_specdec.training import search, train, train_searched

# The second shrinks every weight to nothing, so that it is never chosen.
DECAYS = (0.01, 300.0)
Row = dict[str, Any]
MakeStore = Callable[..., TileStore]


class Killed(BaseException):
    pass


@pytest.fixture(scope="session")
def searching() -> TrainConfig:
    return TrainConfig(
        model="test_resnet",
        epochs=1,
        batch_size=16,
        lr=3e-3,
        sd_coef=0.01,
        weight_decay="auto",
        search=SearchConfig(sd_coefs=(0.01, 0.1), weight_decays=DECAYS),
        tensorboard=False,
        pictures=False,
    )


@pytest.fixture(scope="session")
def searched(
    written: Cohort, searching: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder whose search is finished."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out, rows = run(written, tmp_path_factory.mktemp("searched") / "model", searching)
    torch.set_num_threads(before)
    assert len(rows) == 2
    return out


@pytest.fixture
def finished(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / "model"))


def run(
    cohort: Cohort, out: Path, config: TrainConfig, stop_after: int | None = None
) -> tuple[Path, list[Row]]:
    """Search and train; be killed once `stop_after` epochs are written. Also return their rows."""
    rows: list[Row] = []

    def on_epoch(row: Row) -> None:
        rows.append(row)
        if len(rows) == stop_after:
            raise Killed

    stain = out.parent / "stain"
    train_searched(cohort.stores, cohort.slides, out, config, stain, on_epoch=on_epoch)
    return out, rows


def app(arguments: list[str]) -> None:
    typer.main.get_command(make_app()).main(arguments, standalone_mode=False)


def changed(config: TrainConfig, **changes: object) -> TrainConfig:
    return config.model_copy(update=changes)


def weights(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load((folder / "weights.safetensors").read_bytes())
    return tensors


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def found_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "search.json").read_text())
    return content


def times(folder: Path) -> dict[str, int]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize("setting", ["sd_coef", "weight_decay"])
def test_a_plain_training_refuses_auto(
    cohort: Cohort, config: TrainConfig, tmp_path: Path, setting: str
) -> None:
    auto = changed(config, **{setting: "auto"})
    with pytest.raises(ConfigError, match=f"`{setting}` is 'auto'"):
        train(cohort.stores, cohort.slides, tmp_path / "model", auto, tmp_path / "stain")
    assert not (tmp_path / "model").exists()


def test_the_value_is_chosen_by_the_auroc_of_the_validation_tiles(
    cohort: Cohort, searching: TrainConfig, finished: Path
) -> None:
    config = changed(searching, search=searching.search.model_copy(update={"seeds": 2}))
    # Those of the first seed are done.
    out, rows = run(cohort, finished, config)
    found = found_in(out)
    judged = [cohort.stores[s.slide_id] for s in cohort.slides if s.split == "validation"]
    tiles = np.concatenate([store.read(range(store.n_tiles)) for store in judged])
    label = np.concatenate([store.label for store in judged])
    for trial in found["trials"]:
        module, spec = load_model(out / trial["folder"], "cpu")
        logits = predict_logits(module, spec, tiles, torch.device("cpu"))
        assert trial["auroc"] == pytest.approx(roc_auc_score(label, logits[:, 0]))
        made = spec.training["settings"]
        assert (made["weight_decay"], made["seed"]) == (trial["value"], trial["seed"])
        assert (made["sd_coef"], made["epochs"]) == (config.sd_coef, 1)
    aurocs = np.array([trial["auroc"] for trial in found["trials"]]).reshape(2, 2)
    assert found["means"] == pytest.approx(list(aurocs.mean(axis=1)))
    assert found["chosen"] == DECAYS[int(np.argmax(aurocs.mean(axis=1)))] == DECAYS[0]
    assert (found["seeds"], found["epochs"], found["trainings"]) == ([0, 1], 1, 4)
    assert found["at_edge"]
    # The model is that of its own trial: nothing was trained twice.
    assert len(rows) == 2
    assert same(weights(out), weights(out / "search" / "weight_decay-0.01-seed-0"))


def test_the_model_tells_of_its_search(
    cohort: Cohort, searching: TrainConfig, searched: Path, tmp_path: Path
) -> None:
    out = searched
    plain = changed(searching, weight_decay=DECAYS[0])
    expected = train(cohort.stores, cohort.slides, tmp_path / "plain", plain, tmp_path / "stain")
    told, known = load_spec(out), load_spec(expected)
    assert told.training["search"] == found_in(out)
    assert told.training["settings"] == known.training["settings"]
    assert told.training["metrics"] == known.training["metrics"]
    assert same(weights(out), weights(expected))
    names = {path.name for path in expected.iterdir()}
    assert {path.name for path in out.iterdir()} == names | {"search", "search.json", "search.png"}
    card = (out / "MODEL_CARD.md").read_text()
    assert "`weight_decay` was chosen" in card
    assert "| 300 | 0." in card
    assert "was chosen" not in (expected / "MODEL_CARD.md").read_text()
    module, _ = load_model(out, "cpu")
    assert module is not None


def test_a_finished_search_is_not_done_again(
    cohort: Cohort, searching: TrainConfig, finished: Path
) -> None:
    before = times(finished)
    again, rows = run(cohort, finished, searching)
    assert rows == []
    assert times(again) == before


def test_a_kill_costs_at_most_the_epoch_under_way(
    cohort: Cohort, searching: TrainConfig, searched: Path, tmp_path: Path
) -> None:
    for stop_after in (1, 1):
        with pytest.raises(Killed):
            run(cohort, tmp_path / "parts", searching, stop_after)
        assert not (tmp_path / "parts" / "model.json").exists()
    # All epochs are trained; what is left is to write the last trial's model.
    parts, left = run(cohort, tmp_path / "parts", searching)
    assert left == []
    assert found_in(parts) == found_in(searched)
    assert same(weights(parts), weights(searched))


def test_what_a_kill_left_between_the_files_of_the_model_is_mended(
    cohort: Cohort, searching: TrainConfig, finished: Path
) -> None:
    out, expected = finished, weights(finished)
    (out / "weights.safetensors").write_bytes(b"half")
    _, rows = run(cohort, out, searching)
    assert rows == []
    assert same(weights(out), expected)
    (out / "model.json").unlink()
    run(cohort, out, searching)
    assert load_spec(out).training["search"] == found_in(out)


def test_test_splits_are_never_looked_at(
    cohort: Cohort,
    searching: TrainConfig,
    searched: Path,
    make_store: MakeStore,
    tmp_path: Path,
) -> None:
    for number, split in enumerate(["internal", "external", None]):
        name = f"t{number}"
        cohort.stores[name] = make_store(name, [0, 1] * 20)
        cohort.slides.append(Slide(name, Path(f"{name}.svs"), name, 1, split))
        # Nothing of it can be read any more.
        shutil.rmtree(cohort.stores[name].path)
    beside, _ = run(cohort, tmp_path / "beside", searching)
    assert found_in(beside) == found_in(searched)
    assert same(weights(beside), weights(searched))


def test_a_search_of_fewer_epochs_is_followed_by_the_whole_training(
    cohort: Cohort, searching: TrainConfig, tmp_path: Path
) -> None:
    short = searching.search.model_copy(update={"epochs": 1})
    config = changed(searching, epochs=2, search=short, weight_decay=0.0, sd_coef="auto")
    out, rows = run(cohort, tmp_path / "model", config)
    assert [row["epoch"] for row in rows] == [1, 1, 1, 2]
    found = found_in(out)
    assert (found["setting"], found["epochs"]) == ("sd_coef", 1)
    spec = load_spec(out)
    assert spec.training["search"] == found
    settings = spec.training["settings"]
    assert (settings["sd_coef"], settings["epochs"]) == (found["chosen"], 2)
    assert run(cohort, out, config)[1] == []
    assert load_spec(out).training["search"] == found


def test_a_wider_grid_adds_to_what_is_done(
    cohort: Cohort, searching: TrainConfig, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = finished
    grids = SearchConfig(sd_coefs=(0.01, 0.1, 1.0), weight_decays=(0.001, *DECAYS))
    wider = changed(searching, search=grids)
    monkeypatch.setattr(search, "best_value", lambda trials: min(t.value for t in trials))
    _, rows = run(cohort, out, wider)
    assert len(rows) == 1
    assert found_in(out)["values"] == [0.001, *DECAYS]
    assert load_spec(out).training["settings"]["weight_decay"] == 0.001
    assert same(weights(out), weights(out / "search" / "weight_decay-0.001-seed-0"))


def test_without_auto_it_is_a_plain_training(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    out, rows = run(cohort, tmp_path / "model", changed(config, epochs=1))
    assert len(rows) == 1
    assert not list(out.glob("search*"))


def test_another_model_in_the_folder_is_refused_before_the_search(
    cohort: Cohort, searching: TrainConfig, finished: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(finished / "search" / "weight_decay-0.01-seed-0", tmp_path / "own"))
    with pytest.raises(SettingsMismatchError, match=r"weight_decay: 0.01 -> auto;"):
        run(cohort, out, searching)
    assert not (out / "search").exists()
    with pytest.raises(SettingsMismatchError, match=r"settings: lr: 0.003 -> 0.1;"):
        run(cohort, finished, changed(searching, lr=0.1))


@pytest.mark.parametrize("missing", ["all", "one class"])
def test_a_search_needs_validation_tiles_of_two_classes(
    cohort: Cohort, searching: TrainConfig, tmp_path: Path, missing: str
) -> None:
    cohort.slides[:] = [
        s for s in cohort.slides if s.split == "train" or (missing != "all" and s.label == 0)
    ]
    with pytest.raises(NotEnoughDataError, match="two classes"):
        run(cohort, tmp_path / "model", searching)
    assert not (tmp_path / "model").exists()


def test_a_patient_in_a_test_split_too_is_refused(
    cohort: Cohort, searching: TrainConfig, tmp_path: Path
) -> None:
    leaking = replace(cohort.slides[0], slide_id="again", split="internal")
    cohort.slides.append(leaking)
    with pytest.raises(LeakError):
        run(cohort, tmp_path / "model", searching)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--spectral-decoupling", "auto", "--weight-decay", "0"], ("auto", 0.0)),
        (["--spectral-decoupling", "0.05", "--weight-decay", "auto"], (0.05, "auto")),
        (["--spectral-decoupling", "0.05", "--set", "sd_coef=auto"], ("auto", 0.01)),
    ],
)
def test_the_command_takes_numbers_and_auto(
    cohort: Cohort,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flags: list[str],
    expected: tuple[object, object],
) -> None:
    taken: list[TrainConfig] = []
    monkeypatch.setattr(step, "train_model", lambda *given, **_: taken.append(given[-1]))
    where = ["--tiles", str(cohort.folder), "--manifest", "m.csv", "--out", str(tmp_path)]
    app(["train", *where, *flags])
    assert [(config.sd_coef, config.weight_decay) for config in taken] == [expected]
    with pytest.raises(ConfigError, match=r"weight_decay.*'much'"):
        app(["train", *where, "--weight-decay", "much"])


def test_results_tell_what_each_seed_chose(
    searching: TrainConfig, finished: Path, tmp_path: Path
) -> None:
    arm = ArmConfig(name="wd", weight_decay="auto")
    runs = [ArmRun.within(tmp_path, arm, seed) for seed in (0, 1)]
    for run_ in runs:
        shutil.copytree(finished, run_.model)
    settings = arm_settings(runs, searching)
    assert settings["weight_decay"] == DECAYS[0]
    assert settings["sd_coef"] == 0.01
    assert "seed" not in settings
    model = runs[1].model / "model.json"
    content = json.loads(model.read_text())
    content["training"]["settings"]["weight_decay"] = 0.5
    model.write_text(json.dumps(content))
    assert arm_settings(runs, searching)["weight_decay"] == [DECAYS[0], 0.5]


@pytest.mark.slow
def test_two_processes_search_together(
    cohort: Cohort, searching: TrainConfig, searched: Path, tmp_path: Path
) -> None:
    write_manifest(cohort.slides, tmp_path / "slides.csv")
    out = tmp_path / "model"
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    # The machine's own name may not resolve.
    command += ["--local-addr=127.0.0.1"]
    command += ["-m", "wsi_specdec", "train", "--tiles", str(cohort.folder), "--quiet"]
    command += ["--manifest", str(tmp_path / "slides.csv"), "--out", str(out), "--device", "cpu"]
    asked = searching.model_dump(mode="json", exclude_defaults=True)
    command += [part for name in asked for part in ("--set", f"{name}={json.dumps(asked[name])}")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = run_group([sys.executable, *command], env=environment, timeout=500)
    assert done.returncode == 0, done.stderr
    found = found_in(out)
    assert found["chosen"] == found_in(searched)["chosen"]
    assert load_spec(out).training["search"] == found
    assert same(weights(out), weights(out / "search" / "weight_decay-0.01-seed-0"))
