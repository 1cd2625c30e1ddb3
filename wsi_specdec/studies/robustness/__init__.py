"""Tests under blur, stain, compression and other shifts."""
