"""`study`: an experiment from a file in pipelines/."""

from pathlib import Path
from typing import Annotated, Any

import typer

from wsi_specdec.cli.options import Json, Overwrite, Quiet, Set, given, print_json, set_output
from wsi_specdec.cli.results import show
from wsi_specdec.config import (
    AnyConfig,
    AnyStudy,
    DemoConfig,
    ImageStudyConfig,
    PipelineConfig,
    ProcessConfig,
    StarvationConfig,
    full_size,
    load_any,
    make_config,
    override,
)
from wsi_specdec.errors import ConfigError
from wsi_specdec.files import pipeline_file


def study(
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE.yaml", help="A study of pipelines/, or a file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|breast",
            help="Images: a folder or CSV as `pack` takes them, a run directory of `tile`, or the "
            "patches that ship.",
            show_default="the file's data.source",
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="The whole grid, for a real machine.")
    ] = False,
    seeds: Annotated[
        str | None, typer.Option(metavar="K,K,…", show_default="the file's seeds")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time.", show_default="one a core")
    ] = None,
    settings: Set = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run a study of the documentation, on its own data or on yours.

    Trains every arm with every value of its grid and several seeds, chooses values on validation
    images alone, tests on every cohort, and writes results.json, figures/, and page.md and
    page.html. The same command again resumes.

    Example: wsi-specdec study spurious_breast --out study
    """
    set_output(quiet=quiet, as_json=json)
    path = Path(name) if name.endswith((".yaml", ".yml")) else pipeline_file(name)
    loaded = load_any(path)
    changes = given({"out": out, "seeds": None if seeds is None else _numbers(seeds)})
    if full and not isinstance(loaded, PipelineConfig | ProcessConfig):
        loaded = full_size(loaded)
    if isinstance(loaded, ImageStudyConfig | StarvationConfig):
        placed = _placed_study(loaded, changes | given({"workers": workers}), data)
        from wsi_specdec.studies.registry import run_study

        page = run_study(override(placed, settings or []), overwrite=overwrite)
        if json:
            print_json({"out": str(out), "page": str(page)})
        elif not quiet:
            typer.echo(page.read_text(encoding="utf-8"))
        return
    from wsi_specdec.pipeline import run

    refused = given({"--data": data, "--workers": workers})
    if full and isinstance(loaded, PipelineConfig | ProcessConfig):
        refused["--full"] = True
    if refused:
        msg = f"{path} is of kind {loaded.kind!r}, which takes no {' and no '.join(refused)}"
        raise ConfigError(msg)
    whole = override(_placed(loaded, changes), settings or [])
    show(run(whole, overwrite=overwrite), quiet=quiet, as_json=json)


def _placed_study(config: AnyStudy, changes: dict[str, Any], data: str | None) -> AnyStudy:
    """Return a study's config with what the flags say."""
    values = config.model_dump() | changes
    if data is not None:
        if not isinstance(config, ImageStudyConfig):
            msg = f"the study {config.kind} makes its own data, so it takes no --data"
            raise ConfigError(msg)
        values["data"]["source"] = data
    return make_config(type(config), values, "settings")


def _placed(config: AnyConfig, changes: dict[str, Any]) -> AnyConfig:
    """Return a pipeline's config with what the flags say."""
    if isinstance(config, ProcessConfig):
        msg = "a file of kind 'process' is no study: use `wsi-specdec run`"
        raise ConfigError(msg)
    whole = config.pipeline if isinstance(config, DemoConfig) else config
    placed = make_config(PipelineConfig, whole.model_dump() | changes, "settings")
    if isinstance(config, DemoConfig):
        return config.model_copy(update={"pipeline": placed})
    return placed


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        msg = f"--seeds {text}: write whole numbers with commas between, for one 0,1,2"
        raise ConfigError(msg) from error
