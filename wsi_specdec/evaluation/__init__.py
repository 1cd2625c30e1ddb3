"""From calls and truth to `results.json`: cohorts, sites, scanners, arms and their differences."""

from wsi_specdec.evaluation.comparisons import Pair, pairs_of
from wsi_specdec.evaluation.patches import PatchRun, PatchTruth, evaluate_patches
from wsi_specdec.evaluation.results import evaluate, results_schema, write_results
from wsi_specdec.evaluation.runs import SeedRun, cohorts_to_evaluate

__all__ = [
    "Pair",
    "PatchRun",
    "PatchTruth",
    "SeedRun",
    "cohorts_to_evaluate",
    "evaluate",
    "evaluate_patches",
    "pairs_of",
    "results_schema",
    "write_results",
]
