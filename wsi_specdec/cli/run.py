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
    set_output,
    with_flags,
    with_runner,
)
from wsi_specdec.cli.results import show
from wsi_specdec.config import DemoConfig, PipelineConfig, ProcessConfig, load_config, override
from wsi_specdec.errors import ConfigError

Pipeline = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="A file as in pipelines/.")]
OptionalOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Run directory.", show_default="the config's 'out'"),
]
OptionalManifest = Annotated[
    Path | None,
    typer.Option(
        help="Manifest of the slides; for a file of kind 'process', a folder does too. For a file "
        "with a section 'pack', the folder or CSV of the images.",
        show_default="the config's 'manifest' or 'slides'",
    ),
]

OptionalData = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the public data set that the file names, as it was unpacked "
        "(docs/datasets.md); in place of a manifest.",
        show_default="the config's 'data'",
    ),
]


def run(
    *,
    config: Pipeline,
    out: OptionalOut = None,
    manifest: OptionalManifest = None,
    data: OptionalData = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    settings: Set = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run a pipeline file from slides, or images, to report; the same command again resumes.

    Example: wsi-specdec run pipelines/tile_train_aggregate.yaml --manifest slides.csv --out run

    Example: wsi-specdec run pipelines/radiographs_view.yaml --out view
    """
    from wsi_specdec.pipeline import run as run_config

    set_output(quiet=quiet, as_json=json)
    loaded = load_config(config)
    if data is not None and not isinstance(loaded, PipelineConfig):
        msg = f"--data is for a file of kind 'pipeline', and {config} is of kind {loaded.kind!r}"
        raise ConfigError(msg)
    if isinstance(loaded, DemoConfig):
        inner = with_flags(loaded.pipeline, {"out": out})
        inner = with_runner(inner, workers, scheduler)
        loaded = loaded.model_copy(update={"pipeline": inner})
    elif isinstance(loaded, ProcessConfig):
        loaded = with_flags(loaded, {"out": out, "slides": manifest})
        loaded = with_runner(loaded, workers, scheduler)
    else:
        loaded = with_flags(loaded, {"out": out, "manifest": manifest, "data": data})
        loaded = with_runner(loaded, workers, scheduler)
    finished = run_config(override(loaded, settings or []), overwrite=overwrite)
    show(finished, quiet=quiet, as_json=json)
