"""Look at a recipe's model, a data set, or the machine, without training."""
