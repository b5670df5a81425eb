"""User files in, results out, by kind of data."""
