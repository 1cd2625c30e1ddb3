"""Classifiers: build, save, load, and run over batches, with their preprocessing."""

from wsi_specdec.models.build import (
    build_classifier,
    init_weights,
    normalisation,
    read_tensors,
    resolve_device,
)
from wsi_specdec.models.bundle import load_model, save_model
from wsi_specdec.models.inference import (
    Outputs,
    Precision,
    Predictor,
    predict_logits,
    preprocess,
    probabilities,
    standardise,
)
from wsi_specdec.models.prefetch import Transfer, decode_threads, prefetched
from wsi_specdec.models.spec import ModelSpec, check_fits, load_spec, model_sha256
from wsi_specdec.models.stained import (
    StainNormaliser,
    count_statuses,
    stain_normaliser,
    stain_target,
    stains_in_tiles,
    stream_normaliser,
)

__all__ = [
    "ModelSpec",
    "Outputs",
    "Precision",
    "Predictor",
    "StainNormaliser",
    "Transfer",
    "build_classifier",
    "check_fits",
    "count_statuses",
    "decode_threads",
    "init_weights",
    "load_model",
    "load_spec",
    "model_sha256",
    "normalisation",
    "predict_logits",
    "prefetched",
    "preprocess",
    "probabilities",
    "read_tensors",
    "resolve_device",
    "save_model",
    "stain_normaliser",
    "stain_target",
    "stains_in_tiles",
    "standardise",
    "stream_normaliser",
]
