"""`report`: rebuild the report of a run."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import Quiet, set_output


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run directory.", exists=True, file_okay=False)
    ],
    *,
    quiet: Quiet = False,
) -> None:
    """Write DIR/report.html and its figures anew from the files of the run.

    Example: wsi-specdec report demo
    """
    from wsi_specdec.steps import rebuild_report

    set_output(quiet=quiet)
    typer.echo(rebuild_report(folder))
