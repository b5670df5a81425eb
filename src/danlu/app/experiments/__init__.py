"""Run experiments and write their page."""
