"""Load a trained model and use it."""
