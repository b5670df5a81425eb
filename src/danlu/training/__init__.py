"""Training: the only room that steps an optimiser."""
