"""The one home of storage names: files, folders, arrays, attributes and columns."""

from typing import Final

SCHEMA_VERSION: Final = 1

# Run directory
MANIFEST_FILE: Final = "slides.csv"
CONFIG_FILE: Final = "config.yaml"
PROVENANCE_FILE: Final = "provenance.json"
LOG_FILE: Final = "log.jsonl"
TILE_CONFIG_FILE: Final = "tile.json"
LEDGER_FILE: Final = "ledger.csv"
JOURNAL_FILE: Final = "ledger.jsonl"
TILES_DIR: Final = "tiles"
PREVIEWS_DIR: Final = "previews"
COORDS_DIR: Final = "coords"
STAIN_DIR: Final = "stain"
ARMS_DIR: Final = "arms"
SLIDES_DIR: Final = "slides"
FIGURES_DIR: Final = "figures"
HEATMAPS_DIR: Final = "heatmaps"
MODEL_DIR: Final = "model"
SCORES_DIR: Final = "scores"
AGGREGATOR_DIR: Final = "aggregator"
RESULTS_FILE: Final = "results.json"
CALLS_FILE: Final = "calls.csv"
REPORT_FILE: Final = "report.html"

# Model directory
WEIGHTS_FILE: Final = "weights.safetensors"
MODEL_FILE: Final = "model.json"
HISTORY_FILE: Final = "history.csv"
AUGMENTATIONS_FILE: Final = "augmentations.png"
CURVES_FILE: Final = "curves.png"
MODEL_CARD_FILE: Final = "MODEL_CARD.md"
CHECKPOINT_DIR: Final = "checkpoint"
TENSORBOARD_DIR: Final = "tensorboard"
SEARCH_DIR: Final = "search"
SEARCH_FILE: Final = "search.json"
SEARCH_PLOT_FILE: Final = "search.png"
COST_FILE: Final = "cost.json"
AGGREGATOR_FILE: Final = "aggregator.json"

# Tile store
STORE_SUFFIX: Final = ".zarr"
TILES: Final = "tiles"
COORDS: Final = "coords"
TISSUE_FRACTION: Final = "tissue_fraction"
QUALITY: Final = "quality"
LABEL: Final = "label"
UNKNOWN_LABEL: Final = -1

# Splits and cohorts
TRAIN: Final = "train"
VALIDATION: Final = "validation"
INTERNAL: Final = "internal"
EXTERNAL: Final = "external"

# Scores
SCORES_SUFFIX: Final = ".parquet"
MODEL_HASH: Final = "model_sha256"
X: Final = "x"
Y: Final = "y"
LOGIT_PREFIX: Final = "logit_"
PROB_PREFIX: Final = "prob_"

# Calls
CALL_COLUMNS: Final = (
    "slide_id",
    "patient_id",
    "cohort",
    "score",
    "call",
    "threshold",
    "confidence",
    "n_tiles",
    "state",
)
