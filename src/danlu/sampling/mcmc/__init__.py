"""Markov chain Monte Carlo, importance sampling and annealed importance sampling."""
