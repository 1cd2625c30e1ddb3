"""`study`: found by name or file, placed by flags, refused where it cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from wsi_specdec.cli.app import make_app

SMALL = {
    "kind": "starvation",
    "seeds": [0, 1],
    "linear": {"strong": [2.0, 4.0], "angles": [20.0, 40.0], "steps": 50},
    "moons": {"points": 40, "steps": 20, "weight_decays": [0.001, 0.01], "sd_coefs": [0.1, 1.0]},
    "full": {"linear": {"steps": 60}},
}
# A process takes seconds to start.
ALONE = ("--workers", "1", "--json")


def run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(make_app(["study"]), ["study", *map(str, words)])
    text = str(done.exception) if done.exception and done.exit_code == 1 else ""
    return done.exit_code, done.output + text


def settings(out: Path) -> Any:  # noqa: ANN401 - YAML
    return yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))


def test_a_study_is_placed_by_flags_and_asked_for_other_settings(tmp_path: Path) -> None:
    file, out = tmp_path / "small.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    code, text = run(file, "--out", out, "--seeds", "3", "--set", "linear.steps=40", *ALONE)
    assert code == 0, text
    assert json.loads(text) == {"out": str(out), "page": str(out / "page.md")}
    assert (out / "page.md").read_text(encoding="utf-8").startswith("#")
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["seeds"] == [3]
    assert settings(out)["seeds"] == [3]
    assert settings(out)["linear"]["steps"] == 40

    code, text = run(file, "--out", out, "--full", *ALONE)
    assert code != 0
    assert "linear.steps: 40 -> 60" in text
    assert run(file, "--out", out, "--full", "--overwrite", *ALONE)[0] == 0
    assert settings(out)["linear"]["steps"] == 60


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("no_such_study", [], "no_such_study"),
        ("starvation", ["--data", "breast"], "makes its own data"),
        ("spurious_sharpening", [], "the study has no images"),
        ("process_folder", [], "use `wsi-specdec run`"),
        ("demo", ["--data", "breast"], "takes no --data"),
        ("demo", ["--workers", "2"], "takes no --workers"),
        ("panda", ["--full"], "takes no --full"),
        ("starvation", ["--seeds", "one"], "write whole numbers"),
    ],
)
def test_what_cannot_be_run_is_refused(
    name: str, flags: list[str], message: str, tmp_path: Path
) -> None:
    code, text = run(name, "--out", tmp_path / "out", *flags)
    assert code != 0
    assert message in text
