"""The files of a run, its lock, and the errors of its processes."""
