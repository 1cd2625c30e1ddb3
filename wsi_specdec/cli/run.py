"""`run`: a whole pipeline file."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import Json, Overwrite, Quiet, Workers, set_output, with_flags
from wsi_specdec.cli.results import show
from wsi_specdec.config import DemoConfig, load_config

Pipeline = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="A file as in pipelines/.")]
OptionalOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Run directory.", show_default="the config's 'out'"),
]
OptionalManifest = Annotated[
    Path | None,
    typer.Option(help="Manifest of the slides.", show_default="the config's 'manifest'"),
]


def run(
    *,
    config: Pipeline,
    out: OptionalOut = None,
    manifest: OptionalManifest = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run a pipeline file from slides to report; the same command again resumes.

    Example: wsi-specdec run pipelines/tile_train_aggregate.yaml --manifest slides.csv --out run
    """
    from wsi_specdec.pipeline import run as run_config

    set_output(quiet=quiet, as_json=json)
    settings = load_config(config)
    runner = {"workers": workers} if workers is not None else {}
    if isinstance(settings, DemoConfig):
        inner = settings.pipeline
        changed = with_flags(inner, {"out": out, "runner": inner.runner.model_dump() | runner})
        settings = settings.model_copy(update={"pipeline": changed})
    else:
        source = "manifest" if settings.kind == "pipeline" else "slides"
        flags = {"out": out, source: manifest, "runner": settings.runner.model_dump() | runner}
        settings = with_flags(settings, flags)
    show(run_config(settings, overwrite=overwrite), quiet=quiet, as_json=json)
