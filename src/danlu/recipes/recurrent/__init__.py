"""Recipes of recurrent language models."""
