"""From tile scores to slide scores and calls."""

from wsi_specdec.aggregation.aggregator import (
    Aggregator,
    fit_aggregator,
    load_aggregator,
    save_aggregator,
)
from wsi_specdec.aggregation.calls import make_calls
from wsi_specdec.aggregation.pooling import Pooler, make_pooler
from wsi_specdec.aggregation.thresholds import confidence, fit_threshold
from wsi_specdec.store.calls import Call, read_calls, write_calls

__all__ = [
    "Aggregator",
    "Call",
    "Pooler",
    "confidence",
    "fit_aggregator",
    "fit_threshold",
    "load_aggregator",
    "make_calls",
    "make_pooler",
    "read_calls",
    "save_aggregator",
    "write_calls",
]
