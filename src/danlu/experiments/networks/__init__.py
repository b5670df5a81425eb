"""Experiments on layers and networks."""
