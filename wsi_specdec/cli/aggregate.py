"""`aggregate`: tile scores to slide calls."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from wsi_specdec.cli.options import (
    ConfigFile,
    Manifest,
    Out,
    Quiet,
    resolve,
    set_output,
    shown,
)
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import ConfigError


def aggregate(
    *,
    scores: Annotated[
        Path, typer.Option(help="Folder that `score` wrote.", show_default=False, exists=True)
    ],
    manifest: Manifest,
    out: Out,
    fit_on: Annotated[
        str | None,
        typer.Option(help="Split whose slides choose the threshold.", show_default=False),
    ] = None,
    aggregator: Annotated[
        Path | None,
        typer.Option(
            help="Folder of an aggregator whose threshold is used unchanged.", show_default=False
        ),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="ledger.csv of `tile`, to say why a slide has no scores.", show_default=False
        ),
    ] = None,
    pooling: Annotated[
        Literal["mean", "max", "topk_mean", "quantile", "fraction_above"] | None,
        typer.Option(
            help="Tile scores to a slide score.", show_default=shown(AggregateConfig, "pooling")
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="Tiles in topk_mean.", show_default=shown(AggregateConfig, "top_k")),
    ] = None,
    threshold_rule: Annotated[
        Literal["youden", "sensitivity", "specificity", "fixed"] | None,
        typer.Option(show_default=shown(AggregateConfig, "threshold_rule")),
    ] = None,
    threshold_target: Annotated[
        float | None,
        typer.Option(
            help="Sensitivity or specificity to reach, or the fixed threshold.",
            show_default=shown(AggregateConfig, "threshold_target"),
        ),
    ] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
) -> None:
    """Pool tile scores into slide scores and call them: OUT/calls.csv.

    With --fit-on the threshold is chosen on that split and kept as OUT/aggregator; with
    --aggregator an existing one is applied as it is, as to external data.

    Example: wsi-specdec aggregate --scores run/scores --manifest slides.csv --out run
    --fit-on validation
    """
    from wsi_specdec.steps import aggregate_scores

    if (fit_on is None) == (aggregator is None):
        msg = "give either --fit-on SPLIT or --aggregator FOLDER"
        raise ConfigError(msg)
    set_output(quiet=quiet)
    flags = {
        "pooling": pooling,
        "top_k": top_k,
        "threshold_rule": threshold_rule,
        "threshold_target": threshold_target,
        "fit_on": fit_on,
    }
    settings = resolve(AggregateConfig, "aggregate", config, flags)
    aggregate_scores(scores, manifest, out, settings, aggregator=aggregator, ledger=ledger)
