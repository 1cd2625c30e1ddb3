"""Gradient starvation itself, in two small systems."""
