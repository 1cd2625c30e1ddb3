"""`aggregate`: tile scores to slide calls."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import (
    ConfigFile,
    Json,
    Manifest,
    Out,
    Quiet,
    resolve,
    set_output,
    shown,
)
from wsi_specdec.cli.results import show_calls
from wsi_specdec.config import AggregateConfig, PatientRule, Pooling, ThresholdRule
from wsi_specdec.config.calls import Abstaining, Calibrating
from wsi_specdec.errors import ConfigError
from wsi_specdec.keys import CALLS_FILE

_POOLING = (
    "Tiles to a slide score. mean, max: of all tiles. topk_mean: mean of the highest --top-k. "
    "quantile: the --quantile of all tiles. fraction_above: share of tiles at or above "
    "--tile-threshold. noisy_or: chance that any tile is positive. connected_area: area of the "
    "largest focus of such tiles, by its mm². logistic: logistic regression on poolings, learned "
    "on --fit-on. mil: gated attention on embeddings, learned on the train split; score its "
    "slides too, with embeddings."
)
_RULE = (
    "youden: highest sensitivity + specificity. sensitivity, specificity: that reaches "
    "--threshold-target at the least cost of the other. cost: fewest errors, a missed positive "
    "worth --cost-ratio false ones, at --prevalence. fixed: --threshold-target itself."
)
_ABSTAIN = (
    "Refer slides to a pathologist: the column 'referred'. conformal: unless the class called is "
    "the only plausible one, at an error of --alpha in each class. band: scores between the "
    "thresholds of sensitivity and of specificity 1 - --alpha."
)
_CALIBRATION = (
    "Slide score to probability. platt: slope and intercept. temperature: slope alone. auto: platt "
    "where there are 10 slides of each class."
)
_PATIENT = (
    "Patients' calls, patients.csv. max, mean: of the slides' scores. any: positive where a slide "
    "is called so."
)


def aggregate(
    *,
    scores: Annotated[
        Path, typer.Option(help="Folder that `score` wrote.", show_default=False, exists=True)
    ],
    manifest: Manifest,
    out: Out,
    fit_on: Annotated[
        str | None,
        typer.Option(
            help="Split whose slides choose the threshold: validation, or train.",
            show_default=False,
        ),
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
            help="ledger.csv of `tile` or `score`, to say why a slide has no scores.",
            show_default="that of SCORES, if any",
        ),
    ] = None,
    pooling: Annotated[
        Pooling | None,
        typer.Option(help=_POOLING, show_default=shown(AggregateConfig, "pooling")),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="Tiles in topk_mean.", show_default=shown(AggregateConfig, "top_k")),
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(help="Of quantile.", show_default=shown(AggregateConfig, "quantile")),
    ] = None,
    tile_threshold: Annotated[
        float | None,
        typer.Option(
            help="Of fraction_above and connected_area.",
            show_default=shown(AggregateConfig, "tile_threshold"),
        ),
    ] = None,
    threshold_rule: Annotated[
        ThresholdRule | None,
        typer.Option(help=_RULE, show_default=shown(AggregateConfig, "threshold_rule")),
    ] = None,
    threshold_target: Annotated[
        float | None,
        typer.Option(
            help="Sensitivity or specificity to reach, or the fixed threshold.",
            show_default=shown(AggregateConfig, "threshold_target"),
        ),
    ] = None,
    cost_ratio: Annotated[
        float | None,
        typer.Option(
            help="False positives that one missed positive is worth.",
            show_default=shown(AggregateConfig, "cost_ratio"),
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Share of positive slides where the calls will be used.",
            show_default="that of the split",
        ),
    ] = None,
    calibration: Annotated[
        Calibrating | None,
        typer.Option(help=_CALIBRATION, show_default=shown(AggregateConfig, "calibration")),
    ] = None,
    abstain: Annotated[
        Abstaining | None,
        typer.Option(help=_ABSTAIN, show_default=shown(AggregateConfig, "abstain")),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Share of errors allowed in each class.",
            show_default=shown(AggregateConfig, "alpha"),
        ),
    ] = None,
    patient_rule: Annotated[
        PatientRule | None,
        typer.Option(help=_PATIENT, show_default=shown(AggregateConfig, "patient_rule")),
    ] = None,
    attention: Annotated[
        bool,
        typer.Option("--attention", help="Write each tile's attention of mil to OUT/attention."),
    ] = False,
    config: ConfigFile = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Pool tile scores into slide scores and call them: OUT/calls.csv and OUT/patients.csv.

    With --fit-on the threshold, and what else is learned, is fitted on that split and kept as
    OUT/aggregator; with --aggregator an existing one is applied as it is, as to external data.
    What else can be set (mil, noisy_or, logistic) stands in docs/aggregation.md, for --config.

    Example: wsi-specdec aggregate --scores run/scores --manifest slides.csv --out run
    --fit-on validation
    """
    from wsi_specdec.steps.aggregate import aggregate_scores

    if (fit_on is None) == (aggregator is None):
        msg = "give either --fit-on SPLIT or --aggregator FOLDER"
        raise ConfigError(msg)
    set_output(quiet=quiet, as_json=json)
    flags = {
        "pooling": pooling,
        "top_k": top_k,
        "quantile": quantile,
        "tile_threshold": tile_threshold,
        "threshold_rule": threshold_rule,
        "threshold_target": threshold_target,
        "cost_ratio": cost_ratio,
        "prevalence": prevalence,
        "calibration": calibration,
        "abstain": abstain,
        "alpha": alpha,
        "patient_rule": patient_rule,
        "fit_on": fit_on,
    }
    given = [name for name, value in flags.items() if value is not None]
    if aggregator is not None and given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        msg = f"an aggregator is applied as it was fitted, so {names} cannot be given with it"
        raise ConfigError(msg)
    settings = resolve(AggregateConfig, "aggregate", config, flags)
    calls = aggregate_scores(
        scores,
        manifest,
        out,
        settings,
        aggregator=aggregator,
        ledger=ledger,
        attention=attention,
    )
    show_calls(calls, {"calls": out / CALLS_FILE}, quiet=quiet, as_json=json)
