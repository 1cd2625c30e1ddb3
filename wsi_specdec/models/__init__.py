"""Classifiers: build, save, load, and run over batches, with their preprocessing."""

from wsi_specdec.models.build import (
    build_classifier,
    init_weights,
    normalisation,
    read_tensors,
    resolve_device,
)
from wsi_specdec.models.bundle import load_model, save_model
from wsi_specdec.models.inference import predict_logits, preprocess, probabilities, standardise
from wsi_specdec.models.prefetch import decode_threads, prefetched
from wsi_specdec.models.spec import ModelSpec, check_fits, load_spec, model_sha256
from wsi_specdec.models.stained import StainNormaliser, stain_normaliser, stain_target

__all__ = [
    "ModelSpec",
    "StainNormaliser",
    "build_classifier",
    "check_fits",
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
    "standardise",
]
