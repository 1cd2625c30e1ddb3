"""Training images whose class goes with a small mark."""
