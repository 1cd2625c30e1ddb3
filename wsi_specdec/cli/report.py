"""`report`: rebuild the report of a run."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import Json, Quiet, print_json, set_output


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run directory.", exists=True, file_okay=False)
    ],
    *,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write DIR/report.html and its figures anew from the files of the run.

    Example: wsi-specdec report demo
    """
    from wsi_specdec.report import report_config, write_report

    set_output(quiet=quiet, as_json=json)
    path = write_report(folder, report_config(folder))
    if json:
        print_json({"report": path})
    elif not quiet:
        typer.echo(path)
