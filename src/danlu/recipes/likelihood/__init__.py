"""Recipes of models that are trained by maximum likelihood."""
