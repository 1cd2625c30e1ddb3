"""The settings that docs/formats.md recommends for public data sets do what it says."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from wsi_specdec.annotations.classes import EXCLUDED, IGNORED, meaning_of_name
from wsi_specdec.config import AnnotationConfig, PipelineConfig, load_config

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
SECTION = PAGE.read_text(encoding="utf-8").split("\n## Annotations")[1].split("\n## ")[0]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture
def settings(tmp_path: Path) -> list[AnnotationConfig]:
    found = []
    for text in EXAMPLES:
        (tmp_path / "config.yaml").write_text(text)
        config = load_config(tmp_path / "config.yaml")
        assert isinstance(config, PipelineConfig)
        found.append(config.tile.annotations)
    return found


def test_examples(settings: list[AnnotationConfig]) -> None:
    camelyon, karolinska, radboud, patterns, qupath = settings
    for name in ("Tumor", "_0", "_1", "metastases"):
        assert meaning_of_name(name, camelyon) == 1
    for name in ("_2", "Exclusion", "normal"):
        assert meaning_of_name(name, camelyon) == EXCLUDED
    assert [meaning_of_name(str(i), karolinska) == 1 for i in range(3)] == [False, False, True]
    assert [i for i in range(6) if meaning_of_name(str(i), radboud) == 1] == [3, 4, 5]
    assert [meaning_of_name(str(i), patterns) for i in range(6)] == [IGNORED, 0, 0, 1, 2, 3]
    assert meaning_of_name("Necrosis", qupath) == IGNORED


def test_every_setting_is_documented() -> None:
    missing = [name for name in AnnotationConfig.model_fields if f"`{name}" not in SECTION]
    assert not missing
    for name in AnnotationConfig().exclude:
        assert f"`{name}`" in SECTION


def test_numbers_are_those_of_the_code() -> None:
    from wsi_specdec.annotations import mask_image, raster, regions

    assert f"{raster.SAMPLES} × {raster.SAMPLES} points" in SECTION
    assert f"{100 * np.sqrt(2) / raster.SAMPLES:.1f} %" in SECTION
    assert f"{mask_image._MAX_SIDE:,} pixels" in SECTION
    assert f"{regions.MAX_TEXT_BYTES >> 20} MiB" in SECTION
    assert yaml.safe_load(EXAMPLES[0])["kind"] == "pipeline"
