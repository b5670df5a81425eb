"""Recipes: one page per named model, as in a lab book."""
