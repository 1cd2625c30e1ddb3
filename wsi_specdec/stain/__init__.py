"""Stain profiles and normalisation: fitted per slide, applied per tile."""

from wsi_specdec.stain.fitting import fit_store, fit_stores, profile_path
from wsi_specdec.stain.macenko import fit_macenko
from wsi_specdec.stain.normalise import normalise
from wsi_specdec.stain.profile import StainProfile, merge_profiles, optical_density

__all__ = [
    "StainProfile",
    "fit_macenko",
    "fit_store",
    "fit_stores",
    "merge_profiles",
    "normalise",
    "optical_density",
    "profile_path",
]
