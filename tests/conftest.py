"""Fixtures that several rooms' tests use."""
