"""Experiments on recurrent networks and language models."""
