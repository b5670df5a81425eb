"""Masked layers: fully connected ones with masks by degrees, and convolutions with masks of pixels."""
