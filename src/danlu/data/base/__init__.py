"""Data sets, their parts, and streams of batches."""
