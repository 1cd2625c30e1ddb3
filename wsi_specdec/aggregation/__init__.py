"""From tile scores to slide scores and calls.

Neither torch nor scikit-learn is imported before something is learned: calling slides needs
neither.
"""

from wsi_specdec.aggregation.abstention import Band, Conformal, fit_band, fit_conformal
from wsi_specdec.aggregation.aggregator import Aggregator, load_aggregator, save_aggregator
from wsi_specdec.aggregation.attention import check_attention, save_attention
from wsi_specdec.aggregation.calibration import Calibration, fit_calibration
from wsi_specdec.aggregation.calls import make_calls, save_calls
from wsi_specdec.aggregation.fitting import fit_aggregator
from wsi_specdec.aggregation.patients import roll_up
from wsi_specdec.aggregation.pooling import Pooler, load_pooler, simple_pooler
from wsi_specdec.aggregation.thresholds import Rule, confidence, fit_threshold
from wsi_specdec.aggregation.tiles import Grid, SlideTiles, read_tiles
from wsi_specdec.store.calls import Call, read_calls, write_calls
from wsi_specdec.store.patients import PatientCall, read_patients, write_patients

__all__ = [
    "Aggregator",
    "Band",
    "Calibration",
    "Call",
    "Conformal",
    "Grid",
    "PatientCall",
    "Pooler",
    "Rule",
    "SlideTiles",
    "check_attention",
    "confidence",
    "fit_aggregator",
    "fit_band",
    "fit_calibration",
    "fit_conformal",
    "fit_threshold",
    "load_aggregator",
    "load_pooler",
    "make_calls",
    "read_calls",
    "read_patients",
    "read_tiles",
    "roll_up",
    "save_aggregator",
    "save_attention",
    "save_calls",
    "simple_pooler",
    "write_calls",
    "write_patients",
]
