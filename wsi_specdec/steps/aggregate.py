"""`aggregate`: calls of slides from the scores of their tiles."""

from pathlib import Path

from wsi_specdec.aggregation import (
    check_attention,
    fit_aggregator,
    load_aggregator,
    make_calls,
    save_aggregator,
    save_attention,
    save_calls,
)
from wsi_specdec.cohort import read_manifest
from wsi_specdec.config import AggregateConfig
from wsi_specdec.keys import AGGREGATOR_DIR, LEDGER_FILE
from wsi_specdec.provenance import provenance
from wsi_specdec.runner import read_states
from wsi_specdec.store.calls import Call


def aggregate_scores(
    scores: Path,
    manifest: Path,
    out: Path,
    config: AggregateConfig,
    *,
    aggregator: Path | None = None,
    ledger: Path | None = None,
    attention: bool = False,
) -> list[Call]:
    """Call every slide of the manifest, with a threshold chosen now or one given.

    Parameters
    ----------
    aggregator
        Folder of an aggregator to apply unchanged; None fits one on `config.fit_on`.
    ledger
        `ledger.csv` that explains slides without scores; None takes that of `scores`, if there is
        one.
    attention
        Whether the tiles' attention is written too, where the pooling is `mil`.
    """
    slides = read_manifest(manifest)
    if ledger is None and (scores / LEDGER_FILE).is_file():
        ledger = scores / LEDGER_FILE
    states = read_states(ledger) if ledger else {}
    loaded = None if aggregator is None else load_aggregator(aggregator)
    if attention:
        check_attention(config.pooling if loaded is None else loaded.pooling)
    if loaded is None:
        fitted = fit_aggregator(scores, slides, config, states=states, provenance=provenance())
        save_aggregator(out / AGGREGATOR_DIR, fitted)
    else:
        fitted = loaded
    calls = make_calls(scores, slides, fitted, states)
    save_calls(out, calls, fitted)
    if attention:
        save_attention(out, scores, calls, fitted)
    return calls
