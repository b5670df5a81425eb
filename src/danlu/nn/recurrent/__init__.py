"""Recurrent networks: torch's own kinds on its kernels, and variants with derivatives of their own."""
