"""Errors as one line and an exit code. Nothing here takes time to import: the command line needs it at once."""

from __future__ import annotations

from danlu.errors import RunError, UsageError


def explain(error: BaseException, where: str = "--debug shows where") -> tuple[int, str]:
    """An exit code and a line for an error.

    Args:
        error: what was raised.
        where: how to find the place of an error that nobody expected.

    >>> explain(MemoryError("12 GB"))[1][:20]
    'out of memory: 12 GB'
    """
    if isinstance(error, UsageError):
        return 2, str(error)
    if isinstance(error, RunError):
        return 1, str(error)
    if is_broken_connection(error):
        return 1, (
            f"another process of this run is gone; if nobody ended it, the system may have, for its memory "
            f"({_first_line(error)})"
        )
    if _is_out_of_memory(error):
        return 1, (
            f"out of memory: {_first_line(error)}. What is saved is kept. Try half the --batch-size, or "
            f"--grad-accumulation 2, which gives the same result in about half the memory, or --precision bf16"
        )
    if isinstance(error, OSError):
        return 1, f"{error.filename or 'the system'}: {error.strerror or error}"
    if not isinstance(error, Exception):  # somebody's wish, and nobody's mistake
        return 1, str(error) or type(error).__name__
    return 1, f"{type(error).__name__}: {error} (this should not happen; {where})"


def is_broken_connection(error: BaseException) -> bool:
    """Whether an error says no more than that another process is gone.

    torch has classes for it, known here by name because torch takes long to import; what gloo raises has none, but
    names its source file.

    >>> is_broken_connection(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:29500"))
    True
    >>> is_broken_connection(ConnectionResetError("by a web server"))
    False
    """
    if not isinstance(error, RuntimeError):
        return False
    return any(cls.__name__ == "DistError" for cls in type(error).__mro__) or "gloo/" in str(error)


def _is_out_of_memory(error: BaseException) -> bool:
    """Also what torch raises on a CPU, which has no class of its own."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "can't allocate" in str(error))


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
