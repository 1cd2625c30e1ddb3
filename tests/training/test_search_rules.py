"""What a search tries, and which value it takes."""

from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from wsi_specdec.config import ArmConfig, PipelineConfig, SearchConfig, TrainConfig, make_config
from wsi_specdec.errors import ConfigError
from wsi_specdec.training import search
from wsi_specdec.training.search import Choice, Trial, best_value, mean_auroc, plan, write_sweep


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([(0.01, 0, 0.7), (0.1, 0, 0.9), (1.0, 0, 0.8)], 0.1),
        ([(1.0, 0, 0.9), (0.1, 0, 0.9), (0.01, 0, 0.8)], 0.1),
        # The mean over the seeds decides, and not the best of them.
        ([(0.1, 0, 1.0), (0.1, 1, 0.5), (1.0, 0, 0.8), (1.0, 1, 0.8)], 1.0),
        # The same three numbers in another order are a tie.
        ([(1.0, 0, 0.7), (1.0, 1, 0.2), (1.0, 2, 0.1), (0.1, 0, 0.1), (0.1, 1, 0.2), (0.1, 2, 0.7)],
         0.1),
    ],
)  # fmt: skip
def test_the_highest_mean_wins_and_ties_go_to_the_smaller_penalty(
    trials: list[tuple[float, int, float]], expected: float
) -> None:
    assert best_value([Trial(*trial) for trial in trials]) == expected


def test_means_that_differ_by_rounding_are_equal() -> None:
    trials = [Trial(0.1, 0, 0.3 - 1e-15), Trial(1.0, 0, 0.3)]
    assert best_value(trials) == 0.1
    assert mean_auroc(trials) == {0.1: 0.3, 1.0: 0.3}


def test_every_arm_has_the_same_budget(config: TrainConfig) -> None:
    config = config.model_copy(update={"seed": 5, "search": SearchConfig(seeds=3)})
    arms = [
        ArmConfig(name="sd", sd_coef="auto", weight_decay=0).apply(config, 5),
        ArmConfig(name="wd", sd_coef=0, weight_decay="auto").apply(config, 5),
    ]
    assert [arm.searched for arm in arms] == ["sd_coef", "weight_decay"]
    sd, wd = map(plan, arms)
    assert len(sd) == len(wd) == 3 * len(SearchConfig().sd_coefs)
    assert [seed for _, seed in sd] == [seed for _, seed in wd]
    assert {seed for _, seed in sd} == {5, 6, 7}
    epochs = {search.trial_settings(arm, 0.1, 5).epochs for arm in arms}
    assert epochs == {config.epochs}
    assert plan(config) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"search": {"sd_coefs": (0.1, 1.0)}}, "every search gets as many values"),
        ({"search": {"sd_coefs": (1, 0.1, 2, 3, 4)}}, "from the lowest to the highest"),
        ({"search": {"weight_decays": (0.1, 0.1, 2, 3, 4)}}, "each once"),
        ({"sd_coef": "auto", "weight_decay": "auto"}, "one is searched at a time"),
        ({"sd_coef": "best"}, "sd_coef"),
    ],
)
def test_settings_that_make_no_fair_search_are_refused(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(TrainConfig, values, "settings")


@pytest.mark.parametrize("setting", ["sd_coef", "weight_decay"])
def test_an_arm_cannot_search_two_settings(setting: str) -> None:
    other = "weight_decay" if setting == "sd_coef" else "sd_coef"
    values = {"train": {other: "auto"}, "arms": [{"name": "both", setting: "auto"}]}
    with pytest.raises(ConfigError, match=r"arm both: .* cannot both be 'auto'"):
        make_config(PipelineConfig, values, "settings")


@pytest.mark.parametrize("values", [(0.001, 0.1, 1.0), (0.0, 0.1, 1.0)])
def test_the_sweep_is_drawn(tmp_path: Path, values: tuple[float, ...]) -> None:
    trials = tuple(Trial(v, seed, 0.8 + 0.1 * seed) for v in values for seed in (0, 1))
    choice = Choice("sd_coef", 3, "tile", trials)
    write_sweep(tmp_path / "search.png", choice)
    image = cv2.imread(str(tmp_path / "search.png"))
    assert image is not None
    assert image.std() > 5
    assert choice.value == values[0]
    assert choice.at_edge
    inner = tuple(replace(trial, auroc=0.99) if trial.value == 0.1 else trial for trial in trials)
    assert not replace(choice, trials=inner).at_edge
