"""Decoding of sequences: sampling and beam search."""
