"""Losses, pure torch."""

from wsi_specdec.losses.spectral_decoupling import LossParts, SpectralDecoupling, logit_penalty

__all__ = ["LossParts", "SpectralDecoupling", "logit_penalty"]
