"""Tasks: the games that train models."""
