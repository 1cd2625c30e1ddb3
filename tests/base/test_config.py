"""Settings: strict, frozen, and the same when written and read."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from wsi_specdec.config import (
    AggregateConfig,
    ArmConfig,
    AugmentConfig,
    DemoConfig,
    PipelineConfig,
    ProcessConfig,
    TileConfig,
    TrainConfig,
    dump_config,
    load_config,
    make_config,
    override,
)
from wsi_specdec.config.augment import StainJitter
from wsi_specdec.errors import ConfigError


@pytest.mark.parametrize("config", [PipelineConfig(), ProcessConfig(), DemoConfig()])
def test_a_config_survives_yaml(
    tmp_path: Path, config: PipelineConfig | ProcessConfig | DemoConfig
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_every_mistake_is_listed_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("kind: pipeline\ntile: {mpp: -1, tile_sise: 256}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert str(path) in message
    assert "tile.mpp" in message
    assert "tile_sise" in message


@pytest.mark.parametrize("text", ["", "[1, 2]", "{unclosed"])
def test_what_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_config(path)


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        TileConfig().mpp = 1.0  # type: ignore[misc]


def test_an_overlap_as_large_as_the_tile_is_refused() -> None:
    with pytest.raises(ConfigError, match="overlap 64 must be smaller"):
        make_config(TileConfig, {"tile_size": 64, "overlap": 64}, "flags")


def test_arms_of_one_name_are_refused() -> None:
    arms = [{"name": "wd"}, {"name": "wd"}]
    with pytest.raises(ConfigError, match="different names"):
        make_config(PipelineConfig, {"arms": arms}, "flags")


def test_an_arm_changes_what_it_names_and_nothing_else() -> None:
    train = TrainConfig(weight_decay=0.5, sd_coef=0.1, epochs=7)
    changed = ArmConfig(name="x", sd_coef=0.3, stain="macenko").apply(train, seed=4)
    assert (changed.sd_coef, changed.weight_decay, changed.epochs, changed.seed) == (0.3, 0.5, 7, 4)
    assert changed.stain.method == "macenko"
    assert train.stain.method == "none"


def test_an_arm_has_its_own_augmentation_and_gamma() -> None:
    train = TrainConfig(augment=AugmentConfig(flips=False), sd_gamma=0.5)
    own = AugmentConfig(stain=StainJitter(probability=0.8))
    changed = ArmConfig(name="x", augment=own, sd_gamma=(0.0, 1.5)).apply(train, seed=0)
    # The whole section is the arm's: flips are on again, as by default.
    assert changed.augment == own
    assert changed.augment.flips
    assert changed.sd_gamma == (0.0, 1.5)
    kept = ArmConfig(name="y").apply(train, seed=0)
    assert (kept.augment, kept.sd_gamma) == (train.augment, 0.5)


def test_an_arms_gamma_of_zero_replaces_another() -> None:
    changed = ArmConfig(name="x", sd_gamma=0.0).apply(TrainConfig(sd_gamma=0.5), seed=0)
    assert changed.sd_gamma == 0.0


def test_an_arms_augmentation_is_read_from_a_pipeline_file() -> None:
    arms = [{"name": "x", "augment": {"stain": {"probability": 0.8}}}]
    made = make_config(PipelineConfig, {"arms": arms}, "file")
    assert made.arms[0].augment == AugmentConfig(stain=StainJitter(probability=0.8))
    with pytest.raises(ConfigError, match="probability"):
        make_config(
            PipelineConfig,
            {"arms": [{"name": "x", "augment": {"stain": {"probability": 2}}}]},
            "file",
        )


def test_the_validation_split_may_be_named_short() -> None:
    assert AggregateConfig(fit_on="val") == AggregateConfig()


def test_the_digest_follows_every_setting() -> None:
    assert TileConfig().digest() == TileConfig().digest()
    assert TileConfig().digest() != TileConfig(mpp_tolerance=0.03).digest()


def test_single_settings_are_overridden_by_yaml_values() -> None:
    changed = override(PipelineConfig(), ["tile.mpp=4", "train.model=test_resnet", "seeds=[0, 1]"])
    assert (changed.tile.mpp, changed.train.model, changed.seeds) == (4.0, "test_resnet", (0, 1))
    assert changed.score == PipelineConfig().score


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("tile.mpp", "SECTION.NAME=VALUE"),
        ("tiles.mpp=1", "no section 'tiles'"),
        ("tile.nothing=1", "tile.nothing"),
        ("tile.mpp=-1", "tile.mpp"),
    ],
)
def test_a_wrong_override_says_why(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(PipelineConfig(), [assignment])
