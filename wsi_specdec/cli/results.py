"""What the verbs that run a whole chain print at their end."""

from typing import TYPE_CHECKING

import typer

from wsi_specdec.cli.options import finish, print_json

if TYPE_CHECKING:
    from wsi_specdec.pipeline import Finished


def show(finished: "Finished", *, quiet: bool, as_json: bool) -> None:
    """Print the table and where the files are, then leave with the exit code."""
    from wsi_specdec.keys import CALLS_FILE, RESULTS_FILE
    from wsi_specdec.report import print_calls, print_results

    files = {
        "results": finished.out / RESULTS_FILE,
        "calls": finished.out / CALLS_FILE,
        "report": finished.report,
    }
    if as_json:
        print_json({**files, "arms": (finished.results or {}).get("arms")})
    elif not quiet:
        if finished.results is None:
            print_calls(finished.calls, finished.out)
        else:
            print_results(finished.results)
        for name, path in files.items():
            if path.exists():
                typer.echo(f"{name:<8} {path}")
    finish(finished.tiling)
