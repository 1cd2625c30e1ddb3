"""`compare`: arms × seeds on one cohort."""

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
from wsi_specdec.cli.run import OptionalData, OptionalManifest, OptionalOut, Pipeline
from wsi_specdec.config import PipelineConfig, load_config, override
from wsi_specdec.errors import ConfigError


def compare(
    *,
    config: Pipeline,
    out: OptionalOut = None,
    manifest: OptionalManifest = None,
    data: OptionalData = None,
    leave_one_site_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-site-out",
            help="Each site of the manifest is the external cohort in turn (docs/compare.md).",
        ),
    ] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    settings: Set = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Compare methods on the same slides, splits and seeds, with paired statistics.

    Example: wsi-specdec compare pipelines/compare_stain_normalisation.yaml --manifest slides.csv
    --out comparison

    With --leave-one-site-out the manifest's column 'site' says who is external, site by site.

    A public data set needs no manifest: wsi-specdec compare pipelines/panda.yaml --data PANDA
    --out panda
    """
    loaded = load_config(config)
    if not isinstance(loaded, PipelineConfig) or len(loaded.arms) < 2:
        msg = f"{config} names fewer than two arms; a comparison needs two or more under 'arms'"
        raise ConfigError(msg)
    from wsi_specdec.pipeline import run_pipeline

    set_output(quiet=quiet, as_json=json)
    flags = {"out": out, "manifest": manifest, "data": data}
    changed = with_flags(loaded, flags | ({"leave_out": "site"} if leave_one_site_out else {}))
    changed = with_runner(changed, workers, scheduler)
    finished = run_pipeline(override(changed, settings or []), overwrite=overwrite)
    show(finished, quiet=quiet, as_json=json)
