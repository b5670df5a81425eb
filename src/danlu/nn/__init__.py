"""Bricks that several models use."""
