"""Models with latent variables."""
