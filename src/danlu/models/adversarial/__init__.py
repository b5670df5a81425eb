"""Generators, and the critics that they play against."""
