"""Every arm with every value and seed: trained by processes, chosen by validation alone."""

import signal
from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.config import SearchConfig, StudyData, TrainConfig
from wsi_specdec.errors import ConfigError, WorkerError
from wsi_specdec.studies.grid import (
    Fitted,
    Method,
    choose,
    chosen,
    read_logits,
    read_probabilities,
    run_grid,
)
from wsi_specdec.studies.pool import in_processes, worker_count
from wsi_specdec.studies.sets.prepare import derive_set, prepare_set, read_truth

DATA = StudyData(
    source="breast", size=24, max_images={"train": 48, "validation": 30, "internal": 20}
)
TRAIN = TrainConfig(
    model="test_resnet",
    epochs=1,
    batch_size=16,
    classes=("normal", "IDC"),
    weight_decay=0.0,
    sd_coef="auto",
    search=SearchConfig(sd_coefs=(0.01, 1.0), weight_decays=(0.01, 1.0)),
    device="cpu",
)


def test_results_come_in_the_order_of_the_items() -> None:
    assert in_processes(abs, [-3, 1, -2], 2, "values") == [3, 1, 2]
    assert in_processes(abs, [], 2, "values") == []


def test_an_error_is_the_one_of_the_piece() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        in_processes(int, ["seven"], 1, "numbers")


def test_a_killed_process_says_what_to_do() -> None:
    with pytest.raises(WorkerError, match="fewer --workers"):
        in_processes(signal.raise_signal, [signal.SIGKILL], 1, "kills")


def test_as_many_processes_as_cores_or_as_asked() -> None:
    assert worker_count(3) == 3
    assert worker_count("auto") >= 1


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def methods(out: Path) -> list[Method]:
    base = prepare_set(DATA, out, 1)

    def dark(tiles: np.ndarray, rows: np.ndarray) -> np.ndarray:
        del rows
        return tiles // 2

    tests = {
        "internal": derive_set(
            base, out / "data" / "internal", lambda t, _: t, splits=["internal"], params={}
        ),
        "external-dark": derive_set(
            base, out / "data" / "dark", dark, splits=["internal"], params={"dark": 2}
        ),
    }
    wd = TRAIN.model_copy(update={"sd_coef": 0.0, "weight_decay": "auto"})
    fixed = TRAIN.model_copy(update={"sd_coef": 0.1})
    return [
        Method("", arm, train, base, tests)
        for arm, train in (("sd", TRAIN), ("wd", wd), ("fixed", fixed))
    ]


@pytest.fixture(scope="module")
def fitted(methods: list[Method], out: Path) -> list[Fitted]:
    return run_grid(methods, (0, 1), out, 2)


def test_every_value_and_seed_is_trained_with_its_settings(fitted: list[Fitted]) -> None:
    made = [(f.method.arm, f.value, f.seed) for f in fitted]
    assert made == [
        *[("sd", v, s) for v in (0.01, 1.0) for s in (0, 1)],
        *[("wd", v, s) for v in (0.01, 1.0) for s in (0, 1)],
        *[("fixed", 0.0, s) for s in (0, 1)],
    ]
    settings = fitted[6].settings()
    assert (settings.weight_decay, settings.sd_coef, settings.seed) == (1.0, 0.0, 0)
    assert fitted[-1].settings().sd_coef == 0.1
    logits = [read_logits(f, "internal") for f in fitted]
    assert len({each.tobytes() for each in logits}) == len(logits)


def test_scores_are_of_all_images_in_their_order(
    fitted: list[Fitted], methods: list[Method]
) -> None:
    for cohort, folder in methods[0].tests.items():
        assert len(read_probabilities(fitted[0], cohort)) == len(read_truth(folder)) == 20
    validation = read_probabilities(fitted[0], "validation")
    assert len(validation) == 30
    light, dark = (read_logits(fitted[0], name) for name in methods[0].tests)
    assert not np.allclose(light, dark)


def test_the_value_is_chosen_by_validation_images(fitted: list[Fitted], out: Path) -> None:
    from sklearn.metrics import roc_auc_score

    label = read_truth(out / "data" / "base-validation").label
    means = {
        value: np.mean(
            [
                roc_auc_score(label, read_logits(f, "validation")[:, 0])
                for f in fitted
                if f.method.arm == "sd" and f.value == value
            ]
        )
        for value in (0.01, 1.0)
    }
    choices = choose(fitted)
    choice = choices["", "sd"]
    assert dict(choice.means) == pytest.approx(means)
    assert choice.value == max(means, key=lambda value: means[value])
    assert (choice.setting, choice.at_edge) == ("sd_coef", True)
    assert choices["", "fixed"].at_edge is False
    kept = chosen(fitted, choices)
    assert [f.method.arm for f in kept] == ["sd", "sd", "wd", "wd", "fixed", "fixed"]
    assert all(f.value == choices["", f.method.arm].value for f in kept)


def test_called_again_nothing_is_made_anew(
    methods: list[Method], fitted: list[Fitted], out: Path
) -> None:
    files = [path for each in fitted for path in each.folder.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    again = run_grid(methods[:1], (0, 1), out, 1)
    assert [f.folder for f in again] == [f.folder for f in fitted[:4]]
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_one_process_or_two_give_the_same(
    methods: list[Method], fitted: list[Fitted], tmp_path: Path
) -> None:
    (alone,) = run_grid([methods[2]], (1,), tmp_path, 1)
    assert np.array_equal(read_logits(alone, "internal"), read_logits(fitted[-1], "internal"))


def test_two_methods_of_one_name_are_refused(methods: list[Method], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="different names"):
        run_grid([methods[0], methods[0]], (0,), tmp_path, 1)
