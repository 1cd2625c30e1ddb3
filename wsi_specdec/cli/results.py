"""What the verbs that run a whole chain print at their end."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wsi_specdec.cli.options import finish, print_json

if TYPE_CHECKING:
    from wsi_specdec.pipeline import Finished
    from wsi_specdec.store.calls import Call


def show(finished: "Finished", *, quiet: bool, as_json: bool) -> None:
    """Print the table and where the files are, then leave with the exit code."""
    from rich.console import Console

    from wsi_specdec.keys import CALLS_FILE, RESULTS_FILE
    from wsi_specdec.report import print_results

    if finished.joined is not None:
        _show_joined(finished, quiet=quiet, as_json=as_json)
        finish(finished.tiling)
        return
    files = {"calls": finished.out / CALLS_FILE, "report": finished.report}
    if finished.results is not None:
        files = {"results": finished.out / RESULTS_FILE, **files}
    if finished.results is None:
        show_calls(finished.calls, files, quiet=quiet, as_json=as_json)
    elif as_json:
        print_json({**files, "calls_of_slides": [], "results_of_arms": finished.results})
    elif not quiet:
        print_results(finished.results, Console(), of_images=finished.of_images)
        _name_files(files)
    finish(finished.tiling)


def _show_joined(finished: "Finished", *, quiet: bool, as_json: bool) -> None:
    """Print what a comparison that leaves sites out came to."""
    if as_json:
        print_json({"report": finished.report, "leave_one_out": finished.joined})
    elif not quiet:
        typer.echo(finished.report.read_text(encoding="utf-8"))
        _name_files({"report": finished.report})


def show_calls(
    calls: "Sequence[Call]", files: Mapping[str, Path], *, quiet: bool, as_json: bool
) -> None:
    """Print the calls, as a table or as JSON, and where the files are."""
    from rich.console import Console

    from wsi_specdec.report import print_calls

    if as_json:
        listed = [asdict(call) for call in calls]
        print_json({**files, "calls_of_slides": listed, "results_of_arms": None})
    elif not quiet:
        print_calls(calls, Console())
        _name_files(files)


def _name_files(files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        typer.echo(f"{name:<8} {path}")
