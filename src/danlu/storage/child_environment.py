"""The environment of the processes that danlu starts: they import no module from the current folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def child_environment(**variables: str) -> dict[str, str]:
    """The environment variables for a process that runs Python.

    ``python -m`` and ``python -c`` search the current folder before the standard library, so a file ``random.py`` there
    would be run. ``PYTHONSAFEPATH`` turns this off in the process and in those that it starts. The search path of this
    process is passed on without the current folder, unless danlu itself is imported from there.

    Args:
        variables: additional variables, which replace those of this process.

    >>> environment = child_environment(OMP_NUM_THREADS="2")
    >>> environment["PYTHONSAFEPATH"], environment["OMP_NUM_THREADS"]
    ('1', '2')
    """
    python_path = os.pathsep.join(dict.fromkeys(_search_path()))
    return {**os.environ, **variables, "PYTHONSAFEPATH": "1", "PYTHONPATH": python_path}


@contextmanager
def safe_children() -> Iterator[None]:
    """Let the processes that a library starts meanwhile import no module from the current folder, either.

    Libraries pass on the environment and the search path of this process, which is changed in the context.

    >>> with safe_children():
    ...     os.environ["PYTHONSAFEPATH"], "" in sys.path
    ('1', False)
    """
    changed = {name: child_environment()[name] for name in ("PYTHONSAFEPATH", "PYTHONPATH")}
    before, path_before = {name: os.environ.get(name) for name in changed}, list(sys.path)
    os.environ.update(changed)
    sys.path[:] = dict.fromkeys(_path_of_this_process())
    try:
        yield
    finally:
        sys.path[:] = path_before
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _search_path() -> Iterator[str]:
    """The absolute folders of PYTHONPATH, then those of ``sys.path`` without the current folder."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    yield from filter(os.path.isabs, named)  # the others, and an empty name, depend on the current folder
    yield from _path_of_this_process()


def _path_of_this_process() -> Iterator[str]:
    """The absolute folders of ``sys.path`` without the current folder."""
    package = os.path.realpath(Path(__file__).parents[2])
    try:
        current = os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it was deleted
        current = ""
    for path in sys.path:
        folder = os.path.realpath(path)
        if folder == package or (path and folder != current):
            yield path if os.path.isabs(path) else folder
