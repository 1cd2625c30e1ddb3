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
PACK_CONFIG_FILE: Final = "pack.json"
SALT_FILE: Final = "patient.salt"
PIECES_DIR: Final = "pieces"
TILES_DIR: Final = "tiles"
PREVIEWS_DIR: Final = "previews"
COORDS_DIR: Final = "coords"
STAIN_DIR: Final = "stain"
ARMS_DIR: Final = "arms"
FOLDS_DIR: Final = "folds"
SLIDES_DIR: Final = "slides"
FIGURES_DIR: Final = "figures"
HEATMAPS_DIR: Final = "heatmaps"
EXPORTS_DIR: Final = "exports"
MODEL_DIR: Final = "model"
SCORES_DIR: Final = "scores"
EMBEDDINGS_DIR: Final = "embeddings"
AGGREGATOR_DIR: Final = "aggregator"
RESULTS_FILE: Final = "results.json"
SITES_FILE: Final = "leave_one_{}_out.json"
SITES_PAGE_FILE: Final = "leave_one_{}_out.md"
CALLS_FILE: Final = "calls.csv"
PATIENTS_FILE: Final = "patients.csv"
ATTENTION_DIR: Final = "attention"
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
MIL_FILE: Final = "mil.safetensors"

# Tile store
STORE_SUFFIX: Final = ".zarr"
TILES: Final = "tiles"
COORDS: Final = "coords"
TISSUE_FRACTION: Final = "tissue_fraction"
QUALITY: Final = "quality"
LABEL: Final = "label"
STAIN_APPLIED: Final = "stain_applied"
# Among the measures of quality: a tile's `TileStatus`.
STAIN_STATUS: Final = "stain_status"
UNKNOWN_LABEL: Final = -1
# Packed images
IMAGE_ID: Final = "image_id"
PATIENT_ID: Final = "patient_id"
FINGERPRINT: Final = "fingerprint"
IMAGE_SIZE: Final = "image_size"
GROUP: Final = "group"

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
# Of scores' and embeddings' metadata, beside `model_sha256` and `slide_id`.
N_TILES: Final = "n_tiles"
TILE_SIZE_LEVEL0: Final = "tile_size_level0_px"
STRIDE_LEVEL0: Final = "stride_level0_px"
MPP_LEVEL0: Final = "mpp_level0"
EMBEDDINGS: Final = "embeddings"

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
    "probability",
    "referred",
)
PATIENT_COLUMNS: Final = (
    "patient_id",
    "cohort",
    "score",
    "call",
    "threshold",
    "n_slides",
    "n_called",
    "state",
    "referred",
)
ATTENTION: Final = "attention"
