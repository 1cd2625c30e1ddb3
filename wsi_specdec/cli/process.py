"""`process`: unseen slides through a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import (
    ConfigFile,
    Device,
    Json,
    MinTissue,
    Out,
    Overwrite,
    Quiet,
    Reader,
    Scheduler,
    SlideMpp,
    Workers,
    set_output,
    with_flags,
    with_runner,
)
from wsi_specdec.cli.results import show
from wsi_specdec.cli.score import Model
from wsi_specdec.config import ProcessConfig, load_config
from wsi_specdec.errors import ConfigError


def process(
    *,
    slides: Annotated[
        Path, typer.Argument(help="A slide, a folder of slides, or a manifest (.csv).")
    ],
    model: Model,
    out: Out,
    aggregator: Annotated[
        Path | None,
        typer.Option(help="Folder of the aggregator.", show_default="the one beside the model"),
    ] = None,
    slide_mpp: SlideMpp = None,
    min_tissue: MinTissue = None,
    reader: Reader = None,
    device: Device = None,
    config: ConfigFile = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Call a folder of unseen slides: calls.csv, heatmaps and a report.

    Tiles are cut as the model expects them. A slide without tissue has an empty call and the
    state 'empty'.

    Example: wsi-specdec process slides/ --model run/arms/sd/seed-0/model --out calls
    """
    from wsi_specdec.pipeline import run_process

    set_output(quiet=quiet, as_json=json)
    settings = load_config(config) if config else ProcessConfig()
    if not isinstance(settings, ProcessConfig):
        msg = f"{config} is not of kind 'process'"
        raise ConfigError(msg)
    flags = {
        "slides": slides,
        "model": model,
        "out": out,
        "aggregator": aggregator,
        "slide_mpp": slide_mpp,
        "min_tissue": min_tissue,
        "reader": reader,
        "score": with_flags(settings.score, {"device": device}),
    }
    changed = with_runner(with_flags(settings, flags), workers, scheduler)
    finished = run_process(changed, overwrite=overwrite)
    show(finished, quiet=quiet, as_json=json)
