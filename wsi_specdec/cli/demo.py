"""`demo`: the built-in composed cohort through everything."""

from typing import Annotated

import typer

from wsi_specdec.cli.options import (
    Json,
    Out,
    Overwrite,
    Quiet,
    Workers,
    set_output,
    with_flags,
    with_runner,
)
from wsi_specdec.cli.results import show


def demo(
    *,
    out: Out,
    workers: Workers = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer slides and epochs; says less.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the whole chain on slides composed of real H&E patches that ship with the package.

    Composes the slides, tiles them, trains four arms (weight decay or spectral decoupling, with
    and without Macenko normalisation), calls the slides of an internal and an external cohort,
    and writes results.json, calls.csv and report.html. Takes minutes on two cores.

    Example: wsi-specdec demo --out demo
    """
    from wsi_specdec.config import DemoConfig, load_config
    from wsi_specdec.files import pipeline_file
    from wsi_specdec.pipeline import run_demo

    set_output(quiet=quiet, as_json=json)
    config = load_config(pipeline_file("demo_quick" if quick else "demo"))
    assert isinstance(config, DemoConfig)
    pipeline = with_runner(with_flags(config.pipeline, {"out": out}), workers)
    finished = run_demo(config.model_copy(update={"pipeline": pipeline}), overwrite=overwrite)
    show(finished, quiet=quiet, as_json=json)
