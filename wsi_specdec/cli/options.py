"""Flags that several verbs share, and how flags and config files combine."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from wsi_specdec.config import (
    DemoConfig,
    PipelineConfig,
    ProcessConfig,
    RunnerConfig,
    StageConfig,
    TileConfig,
    load_config,
    make_config,
)
from wsi_specdec.errors import ConfigError
from wsi_specdec.progress import set_quiet

if TYPE_CHECKING:
    from wsi_specdec.runner import LedgerSummary

SOME_FAILED = 1
_SHOWN_SLIDES = 20

Config = TypeVar("Config", bound=StageConfig)
Whole = TypeVar("Whole", PipelineConfig, ProcessConfig)


def shown(model: type[StageConfig], name: str) -> str:
    """Return the default of a setting, for `--help`; it is written in the config only."""
    field = model.model_fields[name]
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else str(value)


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.", show_default=False)]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Pipeline file whose settings hold where no flag is given.",
        show_default=False,
    ),
]
Manifest = Annotated[
    Path,
    typer.Option(
        help="CSV with the columns slide_id, path, patient_id, label, split, … (docs/formats.md).",
        show_default=False,
    ),
]
Tiles = Annotated[
    Path, typer.Option(help="Folder that `tile` wrote.", show_default=False, exists=True)
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", help="Slides at a time.", show_default=shown(RunnerConfig, "workers")
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler (tcp://…) that spreads slides over machines.",
        show_default="processes on this machine",
    ),
]
Reader = Annotated[
    Literal["auto", "openslide", "tiffslide", "image"] | None,
    typer.Option(
        help="What opens the slides; image is for PNG and JPEG pictures.",
        show_default=shown(TileConfig, "reader"),
    ),
]
SlideMpp = Annotated[
    float | None,
    typer.Option(
        help="µm per level-0 pixel, for slides that state none or a wrong one.",
        show_default=False,
    ),
]
MinTissue = Annotated[
    float | None,
    typer.Option(
        help="Least share of a tile that is tissue.", show_default=shown(TileConfig, "min_tissue")
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Override a setting of the config, as in --set tile.mpp=1.0; may be repeated.",
        show_default=False,
    ),
]
Seed = Annotated[int | None, typer.Option(help="Random seed.", show_default="0")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.", show_default="auto")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Redo what was made with other settings.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def resolve(
    model: type[Config], section: str, config: Path | None, flags: dict[str, Any]
) -> Config:
    """Combine one stage's settings: the defaults, then the config file, then the flags.

    Raises
    ------
    ConfigError
        If the file has no such section or a value is wrong.
    """
    values: dict[str, Any] = {}
    if config is not None:
        loaded = load_config(config)
        whole = loaded.pipeline if isinstance(loaded, DemoConfig) else loaded
        stage = getattr(whole, section, None)
        if not isinstance(stage, StageConfig):
            msg = f"{config} has no section '{section}'"
            raise ConfigError(msg)
        values = stage.model_dump()
    values |= given(flags)
    return make_config(model, values, "settings")


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that were given."""
    return {name: value for name, value in flags.items() if value is not None}


def with_flags(config: Config, flags: dict[str, Any]) -> Config:
    """Override settings of a whole config, checking them again."""
    return make_config(type(config), {**config.model_dump(), **given(flags)}, "settings")


def with_runner(config: Whole, workers: int | None, scheduler: str | None = None) -> Whole:
    """Override how a whole config's work is spread."""
    runner = with_flags(config.runner, {"workers": workers, "scheduler": scheduler})
    return with_flags(config, {"runner": runner})


def set_output(*, quiet: bool, as_json: bool = False) -> None:
    """Silence progress where the user, or a machine that reads JSON, asked for it."""
    set_quiet(quiet=quiet or as_json)


def print_json(value: object) -> None:
    """Print JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def finish(summary: "LedgerSummary") -> None:
    """Name the slides to be wary of and those that failed; leave with the exit code for that."""
    _name("note on", summary.remarks, summary.ledger, "yellow")
    _name("skipped", summary.skipped, summary.ledger, "yellow")
    _name("failed", summary.failures, summary.ledger, "red")
    if not summary.ok:
        raise typer.Exit(SOME_FAILED)


def _name(state: str, slides: Sequence[tuple[str, str]], ledger: Path | None, colour: str) -> None:
    """Print slides and reasons, a line each, but no more than a screen of them."""
    for slide_id, reason in slides[:_SHOWN_SLIDES]:
        typer.secho(f"{state} {slide_id}: {reason}", fg=colour, err=True)
    more = len(slides) - _SHOWN_SLIDES
    if more > 0:
        typer.secho(f"{state} {more:,} more: see {ledger or 'the ledger'}", fg=colour, err=True)
