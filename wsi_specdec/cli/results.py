"""What the verbs that run a whole chain print at their end."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from wsi_specdec.cli.options import finish, print_json

if TYPE_CHECKING:
    from wsi_specdec.pipeline import Finished


def show(finished: "Finished", *, quiet: bool, as_json: bool) -> None:
    """Print the table and where the files are, then leave with the exit code."""
    from rich.console import Console

    from wsi_specdec.keys import CALLS_FILE, RESULTS_FILE
    from wsi_specdec.report import print_calls, print_results

    files = {"calls": finished.out / CALLS_FILE, "report": finished.report}
    if finished.results is not None:
        files = {"results": finished.out / RESULTS_FILE, **files}
    if as_json:
        calls = [asdict(call) for call in finished.calls]
        print_json({**files, "calls_of_slides": calls, "results_of_arms": finished.results})
    elif not quiet:
        if finished.results is None:
            print_calls(finished.calls, Console())
        else:
            print_results(finished.results, Console())
        for name, path in files.items():
            typer.echo(f"{name:<8} {path}")
    finish(finished.tiling)
