"""Experiments on likelihood and variational autoencoders."""
