"""Models that read a sequence and carry a state."""
