"""Masked layers, and autoregressive networks made of them."""
