"""``python -m danlu`` is ``danlu``."""

from danlu.app.cli import main

main()
