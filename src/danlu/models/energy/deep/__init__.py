"""Deep energy-based models: any network is an energy."""
