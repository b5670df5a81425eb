"""Optimization of one player: settings, optimizers, learning-rate schedules, and the moving average of the weights."""
