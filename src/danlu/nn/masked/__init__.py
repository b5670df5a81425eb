"""Masked layers, and autoregressive networks made of them."""
"""Layers with masked weights, whose outputs depend on some of the inputs only."""
