"""``python -m danlu`` is ``danlu``."""

from danlu.app.cli.main import program

program()
