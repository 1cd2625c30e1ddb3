"""Every shipped pipeline file fits the config models."""

from pathlib import Path

import pytest

from wsi_specdec.config import DemoConfig, StudyConfig, dump_config, full_size, load_any
from wsi_specdec.files import pipeline_file

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "pipelines").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pipeline_loads_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = load_any(path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config), encoding="utf-8")
    assert load_any(copy) == config


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_study_is_in_full_fits_too(path: Path) -> None:
    config = load_any(path)
    if isinstance(config, StudyConfig | DemoConfig):
        full = full_size(config)
        assert full.full == {}
        assert (full.model_dump(exclude={"full"}) == config.model_dump(exclude={"full"})) == (
            not config.full
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pipeline_is_found_by_its_name(path: Path) -> None:
    assert pipeline_file(path.stem) == path


def test_the_promised_pipelines_are_there() -> None:
    promised = {
        "demo",
        "tile_train_aggregate",
        "process_folder",
        "compare_stain_normalisation",
        "panda",
        "panda_reverse",
        "camelyon16",
        "camelyon17",
        "peso",
        "spurious_sharpening",
        "spurious_breast",
        "robustness",
        "robustness_breast",
        "starvation",
        "stain_patches",
        "composed_slides",
        "covid_radiographs",
        "radiographs_view",
    }
    assert promised <= {path.stem for path in FILES}
