"""Experiments on gradient descent."""
