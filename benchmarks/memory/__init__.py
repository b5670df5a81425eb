"""What work takes of the memory."""
