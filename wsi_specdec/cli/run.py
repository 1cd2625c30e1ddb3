"""`run`: a whole pipeline file."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import (
    Json,
    Overwrite,
    Quiet,
    Scheduler,
    Set,
    Workers,
    given,
    set_output,
    with_flags,
)
from wsi_specdec.cli.results import show
from wsi_specdec.config import DemoConfig, load_config, override

Pipeline = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="A file as in pipelines/.")]
OptionalOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Run directory.", show_default="the config's 'out'"),
]
OptionalManifest = Annotated[
    Path | None,
    typer.Option(
        help="Manifest of the slides; for a file of kind 'process', a folder does too.",
        show_default="the config's 'manifest' or 'slides'",
    ),
]


def run(
    *,
    config: Pipeline,
    out: OptionalOut = None,
    manifest: OptionalManifest = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    settings: Set = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run a pipeline file from slides to report; the same command again resumes.

    Example: wsi-specdec run pipelines/tile_train_aggregate.yaml --manifest slides.csv --out run
    """
    from wsi_specdec.pipeline import run as run_config

    set_output(quiet=quiet, as_json=json)
    loaded = load_config(config)
    runner = given({"workers": workers, "scheduler": scheduler})
    if isinstance(loaded, DemoConfig):
        inner = loaded.pipeline
        flags = {"out": out, "runner": inner.runner.model_dump() | runner}
        loaded = loaded.model_copy(update={"pipeline": with_flags(inner, flags)})
    else:
        source = "manifest" if loaded.kind == "pipeline" else "slides"
        flags = {"out": out, source: manifest, "runner": loaded.runner.model_dump() | runner}
        loaded = with_flags(loaded, flags)
    finished = run_config(override(loaded, settings or []), overwrite=overwrite)
    show(finished, quiet=quiet, as_json=json)
