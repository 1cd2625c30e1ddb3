"""A run that cannot succeed says so before it starts, and leaves no folder behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from wsi_specdec.config import (
    AggregateConfig,
    ArmConfig,
    DatasetConfig,
    EvaluateConfig,
    PipelineConfig,
    ProcessConfig,
    dump_config,
)
from wsi_specdec.errors import (
    ConfigError,
    LeakError,
    ManifestError,
    ModelError,
    NotEnoughDataError,
    SettingsMismatchError,
    WsiSpecdecError,
)
from wsi_specdec.models import ModelSpec, build_classifier, save_model
from wsi_specdec.pipeline import run_pipeline, run_process
from wsi_specdec.steps.aggregate import aggregate_scores

Write = Callable[[str], Path]
COMPLETE = """path,patient_id,label,split
a.svs,p1,0,train
b.svs,p2,1,train
c.svs,p3,0,validation
d.svs,p4,1,validation
e.svs,p5,1,internal
"""


def tiny_model() -> tuple[nn.Module, ModelSpec]:
    spec = ModelSpec(arch="test_resnet", tile_size=32, mpp=None, mean=(0.5,) * 3, std=(0.25,) * 3)
    return build_classifier(spec), spec


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_manifest(text: str) -> Path:
        path = tmp_path / "manifest.csv"
        path.write_text(text)
        return path

    return write_manifest


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (COMPLETE.replace("validation", "train"), ManifestError, "in the split 'validation'"),
        (COMPLETE.replace("internal", "train"), ManifestError, "in a test split"),
        (COMPLETE.replace("p5,1", "p5,"), ManifestError, "have no label: e"),
        (COMPLETE.replace("p5", "p1"), LeakError, "p1 in internal and train"),
    ],
)
def test_a_manifest_that_cannot_be_run_is_refused_first(
    write: Write, tmp_path: Path, text: str, error: type[WsiSpecdecError], message: str
) -> None:
    config = PipelineConfig(
        manifest=write(text), out=tmp_path / "out", evaluate=EvaluateConfig(baseline="sd")
    )
    with pytest.raises(error, match=message):
        run_pipeline(config)
    assert not (tmp_path / "out").exists()


def test_a_baseline_that_is_no_arm_is_refused_before_any_work(write: Write, tmp_path: Path) -> None:
    config = PipelineConfig(
        manifest=write(COMPLETE),
        out=tmp_path / "out",
        arms=(ArmConfig(name="a"), ArmConfig(name="b")),
        evaluate=EvaluateConfig(baseline="wd"),
    )
    with pytest.raises(ConfigError, match="wd"):
        run_pipeline(config)
    assert not (tmp_path / "out").exists()


def test_missing_settings_are_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'out' is missing"):
        run_pipeline(PipelineConfig(manifest=write(COMPLETE)))
    with pytest.raises(ConfigError, match="'manifest' is missing"):
        run_pipeline(PipelineConfig(out=tmp_path / "out"))


def test_slides_come_from_a_manifest_or_from_a_data_set(write: Write, tmp_path: Path) -> None:
    manifest, out = write(COMPLETE), tmp_path / "out"
    panda = DatasetConfig(name="panda", internal=("karolinska",))
    for given, message in (
        ({"manifest": manifest, "data": tmp_path}, "either a manifest or the folder"),
        ({"data": tmp_path}, r"none under 'dataset': start from .*panda\.yaml"),
        ({"dataset": panda}, "'data' is missing"),
        ({"dataset": panda, "data": tmp_path}, r"(?s)holds no train\.csv.*train_images"),
    ):
        with pytest.raises((ConfigError, ManifestError), match=message):
            run_pipeline(PipelineConfig.model_validate({"out": out, **given}))
    assert not out.exists()


def test_slides_without_labels_need_truth_about_tiles_and_no_threshold_to_choose(
    write: Write, tmp_path: Path
) -> None:
    text = COMPLETE.replace("label,split", "label,split,annotation_path")
    text = text.replace("p5,1,internal", "p5,,internal,e.xml")
    fixed = AggregateConfig(threshold_rule="fixed", calibration="none")
    config = PipelineConfig(
        manifest=write(text), out=tmp_path, evaluate=EvaluateConfig(baseline="sd")
    )
    with pytest.raises(ManifestError, match="have no label: e"):
        run_pipeline(config)
    # Past this check, the slides themselves are missing.
    with pytest.raises(NotEnoughDataError):
        run_pipeline(config.model_copy(update={"aggregate": fixed}))


def test_a_folder_of_another_run_is_refused(write: Write, tmp_path: Path) -> None:
    config = PipelineConfig(
        manifest=write(COMPLETE), out=tmp_path, evaluate=EvaluateConfig(baseline="sd")
    )
    other = config.model_copy(update={"splits": {"train": 0.5, "internal": 0.5}, "seeds": (7,)})
    (tmp_path / "config.yaml").write_text(dump_config(other))
    with pytest.raises(SettingsMismatchError, match=r"splits\.train: 0\.5 -> 0\.6") as caught:
        run_pipeline(config)
    assert "seeds" not in str(caught.value)
    (tmp_path / "config.yaml").write_text(dump_config(ProcessConfig()))
    with pytest.raises(SettingsMismatchError, match="kind: process -> pipeline"):
        run_pipeline(config)


def test_process_needs_a_model_and_an_aggregator(write: Write, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    config = ProcessConfig(
        slides=tmp_path / "slides", model=tmp_path / "model", out=tmp_path / "out"
    )
    with pytest.raises(ModelError, match=str(tmp_path / "model")):
        run_process(config)
    save_model(tmp_path / "model", *tiny_model())
    with pytest.raises(ConfigError, match=r"no aggregator\.json in .*--aggregator"):
        run_process(config)
    with pytest.raises(ModelError, match=str(tmp_path / "elsewhere")):
        aggregate_scores(
            tmp_path,
            write("path\na.svs\n"),
            tmp_path,
            AggregateConfig(),
            aggregator=tmp_path / "elsewhere",
        )
    assert not (tmp_path / "out").exists()
