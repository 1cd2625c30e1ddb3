"""The program: its verbs, its error messages and its exit codes."""

import os
import sys
from collections.abc import Callable

import typer

from wsi_specdec import __version__
from wsi_specdec.cli.aggregate import aggregate
from wsi_specdec.cli.compare import compare
from wsi_specdec.cli.demo import demo
from wsi_specdec.cli.doctor import doctor
from wsi_specdec.cli.info import info
from wsi_specdec.cli.options import WRONG_USE
from wsi_specdec.cli.process import process
from wsi_specdec.cli.report import report
from wsi_specdec.cli.run import run
from wsi_specdec.cli.score import score
from wsi_specdec.cli.tile import tile
from wsi_specdec.cli.train import train
from wsi_specdec.errors import WsiSpecdecError

_HELP = """Whole-slide images to slide-level cancer calls, with spectral decoupling.

Start with: [bold]wsi-specdec demo --out demo[/bold]

Exit codes: 0 all done; 1 finished, but some slides failed (they are listed); 2 wrong use or
settings (nothing was started).
"""


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph: the terminal wraps them anew at its own width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


app = typer.Typer(
    name="wsi-specdec",
    help=_unwrapped(_HELP),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(*, value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: bool = typer.Option(
        False, "--version", callback=lambda value: _version(value=value), help="Show the version."
    ),
) -> None:
    del version


_VERBS: tuple[tuple[str, tuple[Callable[..., None], ...]], ...] = (
    ("The whole chain", (demo, run, compare, process)),
    ("Stages, one at a time", (tile, train, score, aggregate, report)),
    ("Slides", (info, doctor)),
)
for _panel, _verbs in _VERBS:
    for _verb in _verbs:
        app.command(rich_help_panel=_panel, help=_unwrapped(_verb.__doc__ or ""))(_verb)


def main() -> None:
    """Run the program, turning the package's own errors into one clear message."""
    # OpenMP's threads spin while they wait, which starves the threads that decode tiles.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except WsiSpecdecError as error:
        typer.secho(f"Error: {error}", fg="red", err=True)
        sys.exit(WRONG_USE)
    except KeyboardInterrupt:
        typer.secho("Interrupted; the same command resumes.", fg="yellow", err=True)
        sys.exit(130)
