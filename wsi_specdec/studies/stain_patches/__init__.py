"""Spectral decoupling against stain normalisation, on patches."""
