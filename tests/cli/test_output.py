"""What verbs print: tables at 80 columns, plain logs, silence, and JSON alone."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from wsi_specdec import progress as progress_module
from wsi_specdec.cli.options import set_output
from wsi_specdec.cli.results import show_calls
from wsi_specdec.progress import console, progress
from wsi_specdec.report import print_calls
from wsi_specdec.store.calls import Call

ANSI = re.compile(r"\x1b\[")
LONG = "TCGA-AB-1234-01Z-00-DX1.0123ABCD-4567-89EF-0123-456789ABCDEF"
CALLS = [
    Call(LONG, "p", None, 0.9, 1, 0.5, 0.8, 123456, "done", 0.91, 1),
    Call("b", "b", None, 0.1, 0, 0.5, 0.8, 12, "done"),
    Call("c", "c", None, None, None, None, None, 0, "failed"),
]


@pytest.fixture(autouse=True)
def loud() -> object:
    yield
    set_output(quiet=False)


def test_calls_fit_80_columns_and_lose_nothing() -> None:
    out = io.StringIO()
    print_calls(CALLS, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    text = out.getvalue()
    assert "…" not in text
    # Folded, not cut: its pieces stand below one another.
    first = [line.split()[0] for line in lines if line.strip()]
    assert LONG in "".join(first)
    assert "123456" in text
    assert "positive, referred" in text
    assert "no call: failed" in text
    assert not ANSI.search(text)


def test_json_stands_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    set_output(quiet=False, as_json=True)
    with progress("tiling", 1) as tick:
        tick()
    console().print("a note")
    show_calls(CALLS, {"calls": Path("out/calls.csv")}, quiet=False, as_json=True)
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["calls"] == "out/calls.csv"
    assert [call["slide_id"] for call in found["calls_of_slides"]] == [LONG, "b", "c"]
    assert found["calls_of_slides"][0]["referred"] == 1
    assert shown.err == ""


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    set_output(quiet=True)
    with progress("tiling", 1) as tick:
        tick()
    show_calls(CALLS, {"calls": Path("out/calls.csv")}, quiet=True, as_json=False)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_a_log_gets_one_plain_line_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    for step in ("tiling", "score tiles", "heatmaps"):
        with progress(step, 40) as tick:
            for number in range(40):
                tick(note=f"slide-{number}")
    show_calls(CALLS, {"calls": Path("calls.csv")}, quiet=False, as_json=False)
    shown = capsys.readouterr()
    assert [line.split(":")[0] for line in shown.err.splitlines()] == [
        "tiling",
        "score tiles",
        "heatmaps",
    ]
    assert not ANSI.search(shown.err + shown.out)
    assert "\r" not in shown.err
    assert max(map(len, shown.out.splitlines())) <= 80


def test_a_bar_keeps_to_80_columns_whatever_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    terminal = Console(file=out, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(progress_module, "_console", terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("score tiles of the external cohort", 1_000_000) as tick:
        for _ in range(3):
            tick(123_456, note=f"slide {LONG}")
    frames = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", out.getvalue()).replace("\r", "\n")
    lines = [line for line in frames.split("\n") if line.strip()]
    assert max(map(len, lines)) <= 80
    assert any("370368/1000000" in line for line in lines)
