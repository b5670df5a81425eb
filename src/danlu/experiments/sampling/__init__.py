"""Experiments on sampling methods."""
