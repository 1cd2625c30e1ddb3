"""The program: its verbs, its error messages and its exit codes."""

import ast
import os
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

import typer

from wsi_specdec import __version__
from wsi_specdec.errors import WsiSpecdecError

WRONG_USE: Final = 2
INTERRUPTED: Final = 130

# Each verb is the function of that name in the module of that name.
VERBS: Final = {
    "demo": "The whole chain",
    "run": "The whole chain",
    "compare": "The whole chain",
    "process": "The whole chain",
    "study": "The whole chain",
    "tile": "Stages, one at a time",
    "pack": "Stages, one at a time",
    "train": "Stages, one at a time",
    "score": "Stages, one at a time",
    "aggregate": "Stages, one at a time",
    "report": "Stages, one at a time",
    "export": "Stages, one at a time",
    "view": "Slides",
    "info": "Slides",
    "doctor": "Slides",
}
# Each is the module of that name, whose `COMMANDS` are its verbs.
GROUPS: Final = {"stain": "Stages, one at a time"}
_HELP = """Whole-slide images to slide-level cancer calls, with spectral decoupling.

Start with: [bold]wsi-specdec demo --out demo[/bold]

Exit codes: 0 all done; 1 finished, but some slides failed (they are listed); 2 wrong use or
settings (nothing was started).
"""


def make_app(loaded: Collection[str] = (*VERBS, *GROUPS)) -> typer.Typer:
    """Build the program.

    Parameters
    ----------
    loaded
        Verbs and groups whose modules are imported. The others can be listed but not called, so
        that `--help` needs no config; their help is read from their source.
    """
    app = _typer("wsi-specdec", _HELP)
    app.callback()(_root)
    for verb, panel in VERBS.items():
        call = _import_verb(verb) if verb in loaded else _not_loaded
        text = (call.__doc__ if verb in loaded else _help_in_source(verb)) or ""
        app.command(verb, rich_help_panel=panel, help=_unwrapped(text))(call)
    for group, panel in GROUPS.items():
        inner = _typer(group, ast.get_docstring(_source(group)) or "")
        for call in _import(group).COMMANDS if group in loaded else ():
            inner.command(call.__name__, help=_unwrapped(call.__doc__ or ""))(call)
        app.add_typer(inner, rich_help_panel=panel)
    return app


def main() -> None:
    """Run the program, turning the package's own errors into one clear message."""
    # OpenMP's threads spin while they wait, which starves the threads that decode tiles.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    completing = any(name.endswith("_COMPLETE") for name in os.environ)
    try:
        known = {**VERBS, **GROUPS}
        make_app(known if completing else known.keys() & set(sys.argv[1:]))()
    except WsiSpecdecError as error:
        typer.secho(f"Error: {error}", fg="red", err=True)
        sys.exit(WRONG_USE)
    except KeyboardInterrupt:
        typer.secho("Interrupted; the same command resumes.", fg="yellow", err=True)
        sys.exit(INTERRUPTED)


def _root(
    *,
    version: bool = typer.Option(
        False, "--version", callback=lambda value: _version(value=value), help="Show the version."
    ),
) -> None:
    del version


def _version(*, value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


def _import_verb(verb: str) -> Callable[..., None]:
    call: Callable[..., None] = getattr(_import(verb), verb)
    return call


def _import(name: str) -> ModuleType:
    return import_module(f"wsi_specdec.cli.{name}")


def _typer(name: str, text: str) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=_unwrapped(text),
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _help_in_source(verb: str) -> str | None:
    """Docstring of the verb, without importing its module."""
    functions = (node for node in _source(verb).body if isinstance(node, ast.FunctionDef))
    return next(ast.get_docstring(node) for node in functions if node.name == verb)


def _source(name: str) -> ast.Module:
    return ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))


def _not_loaded() -> None:
    """Stand in for a verb that is only listed."""


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph: the terminal wraps them anew at its own width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
