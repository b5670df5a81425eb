"""Terminal output: progress, formatting, error messages, flags and signals."""
