"""`--help` teaches: every verb, every flag, defaults that are the config's own."""

import os
import re
import subprocess
import sys

import pytest

from wsi_specdec.cli.app import VERBS, make_app
from wsi_specdec.cli.options import shown
from wsi_specdec.config import AggregateConfig, StainConfig, TileConfig, TrainConfig


def help_of(*verb: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "wsi_specdec", *verb, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
    )
    return re.sub(r"[│╭╮╰╯─]", " ", done.stdout)


def test_the_program_lists_every_verb_and_the_exit_codes() -> None:
    text = help_of()
    for verb in VERBS:
        assert re.search(rf"\b{verb}\b", text)
    assert "Exit codes" in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example(verb: str) -> None:
    assert f"Example: wsi-specdec {verb}" in help_of(verb)


@pytest.mark.parametrize(
    ("verb", "model", "settings"),
    [
        ("tile", TileConfig, ("tile_size", "overlap", "min_tissue", "jpeg_quality")),
        ("train", TrainConfig, ("model", "epochs", "batch_size", "lr", "sd_coef", "weight_decay")),
        ("train", StainConfig, ("method",)),
        ("aggregate", AggregateConfig, ("pooling", "top_k", "threshold_rule")),
    ],
)
def test_the_defaults_shown_are_those_of_the_config(
    verb: str, model: type[TileConfig | TrainConfig | AggregateConfig], settings: tuple[str, ...]
) -> None:
    text = re.sub(r"\s+", " ", help_of(verb))
    for name in settings:
        assert f"[default: ({shown(model, name)})]" in text


def test_listing_the_verbs_imports_none_of_their_libraries() -> None:
    script = (
        "import sys; sys.argv = ['wsi-specdec', '--help']\n"
        "from wsi_specdec.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print({'pydantic', 'numpy', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_verb_listed_without_being_loaded_says_the_same() -> None:
    listed = make_app(loaded=()).registered_commands
    loaded = make_app().registered_commands
    assert [command.name for command in listed] == list(VERBS)
    assert [command.help for command in listed] == [command.help for command in loaded]
