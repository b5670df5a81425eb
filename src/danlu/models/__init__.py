"""Models: one published model per file."""
