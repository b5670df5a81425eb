"""Training runs, from the call to the finished report."""
