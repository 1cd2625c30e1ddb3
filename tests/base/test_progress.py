"""Progress reads well in a log file and is silent where asked."""

import sys

import pytest

from wsi_specdec.progress import progress, set_quiet


def test_a_log_gets_one_line_a_step_and_quiet_gets_none(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("tiling", 3) as tick:
        for _ in range(3):
            tick()
    assert capsys.readouterr().err.startswith("tiling: 3/3 in 0 s")
    set_quiet(quiet=True)
    try:
        with progress("tiling", 3) as tick:
            tick(3, note="a")
    finally:
        set_quiet(quiet=False)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_counts_and_notes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with progress("tiling", 3) as tick:
        tick(2, note="slide-7")
        tick()
    shown = capsys.readouterr().err
    assert "tiling" in shown
    assert "3/3" in shown
    assert "slide-7" in shown
