"""Score runs, files and images."""
