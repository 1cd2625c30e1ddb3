"""The page about training is true."""

import re
from pathlib import Path

from wsi_specdec.config import TrainConfig

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def test_every_setting_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    tables = text[text.index("## Settings") : text.index("## Killed")]
    documented = re.findall(r"^\| `(\w+)` \|", tables, flags=re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == set(TrainConfig.model_fields)


def test_conversions_of_lambda_are_those_of_the_loss() -> None:
    import wsi_specdec.losses.spectral_decoupling as module

    text = PAGE.read_text(encoding="utf-8")
    theirs = re.findall(r"^`(c [^`]*)`", module.__doc__ or "", flags=re.MULTILINE)
    assert len(theirs) == 4
    assert all(f"`{penalty}`" in text for penalty in theirs)
