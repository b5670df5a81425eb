"""Export of finished models."""
