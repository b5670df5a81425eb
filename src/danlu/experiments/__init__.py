"""Experiments: claims of the notes, each run small and judged."""
