"""From calls and truth to `results.json`: cohorts, sites, scanners, arms and their differences."""

from wsi_specdec.evaluation.comparisons import Pair, pairs_of
from wsi_specdec.evaluation.results import evaluate, results_schema, write_results
from wsi_specdec.evaluation.runs import SeedRun, cohorts_to_evaluate

__all__ = [
    "Pair",
    "SeedRun",
    "cohorts_to_evaluate",
    "evaluate",
    "pairs_of",
    "results_schema",
    "write_results",
]
