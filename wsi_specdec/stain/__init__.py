"""Stain profiles and normalisation: fitted per slide (or tile), applied per tile."""

from wsi_specdec.stain import lab
from wsi_specdec.stain.fitting import fit_store, fit_stores, profile_path
from wsi_specdec.stain.jitter import jitter, jitter_mixing
from wsi_specdec.stain.macenko import fit_macenko
from wsi_specdec.stain.methods import fit_pixels, merge_profiles, mixing
from wsi_specdec.stain.mixing import mixing_matrix
from wsi_specdec.stain.normalise import normalise, normalise_each
from wsi_specdec.stain.profile import (
    WHITE,
    StainProfile,
    TileStatus,
    optical_density,
    standard_vectors,
)
from wsi_specdec.stain.reinhard import fit_reinhard
from wsi_specdec.stain.sampling import sample_indices, sample_pixels
from wsi_specdec.stain.status import tile_status
from wsi_specdec.stain.vahadane import fit_vahadane

__all__ = [
    "WHITE",
    "StainProfile",
    "TileStatus",
    "fit_macenko",
    "fit_pixels",
    "fit_reinhard",
    "fit_store",
    "fit_stores",
    "fit_vahadane",
    "jitter",
    "jitter_mixing",
    "lab",
    "merge_profiles",
    "mixing",
    "mixing_matrix",
    "normalise",
    "normalise_each",
    "optical_density",
    "profile_path",
    "sample_indices",
    "sample_pixels",
    "standard_vectors",
    "tile_status",
]
