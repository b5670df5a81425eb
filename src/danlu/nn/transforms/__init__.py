"""Invertible transforms with log-determinants: the parts of normalizing flows."""
