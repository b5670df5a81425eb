"""Autoregressive models of the pixels of images."""
