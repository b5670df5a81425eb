"""Metrics: how good a model is, in the field's own measures."""
