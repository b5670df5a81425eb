"""Losses: pure functions that give one value per example."""
