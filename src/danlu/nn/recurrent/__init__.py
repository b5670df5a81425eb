"""Recurrent networks: torch's cells on its own kernels, and variants with hand-written derivatives."""
