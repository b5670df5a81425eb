"""Recurrent models of sequences."""
