"""Slides with their scores in the browser: deep zoom, heatmap overlay, a list sorted by score."""

from wsi_specdec.viewer.serving import guarded_app, is_loopback, serve

__all__ = ["guarded_app", "is_loopback", "serve"]
