"""Loops that draw, and the stateless randomness that they and everything else draw from."""
