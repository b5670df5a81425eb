"""The restricted Boltzmann machine: visible units of two kinds, chains, and the path of its normalizer."""
