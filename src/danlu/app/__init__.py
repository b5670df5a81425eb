"""The application: command line, run folder, report."""
