"""Generators and critics of GANs."""
