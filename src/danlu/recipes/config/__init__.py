"""How a recipe is written, read, changed and built."""
