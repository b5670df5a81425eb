"""The Boltzmann machine: couplings between any units, Gibbs sweeps in blocks of units, exact sums and estimates."""
