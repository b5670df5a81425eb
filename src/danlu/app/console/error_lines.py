"""Errors as a message and an exit code. Importing this module takes no time: the command line always needs it."""

from __future__ import annotations

from collections.abc import Container

from danlu.app.console.flag import flag_name, flag_of
from danlu.errors import DanluError, RunError, UsageError


def explain(
    error: BaseException, where: str = "--debug prints the traceback", known: Container[str] | None = None
) -> tuple[int, str]:
    """The exit code and the message of an error.

    Args:
        error: the exception.
        where: for an unexpected error, how to get its traceback.
        known: the flags of the command; others are not suggested. None: all flags are known.

    >>> explain(UsageError("split.test must be less than 1", settings=("split.test",)))
    (2, 'split.test must be less than 1 (--split.test)')
    >>> explain(MemoryError("12 GB"))[1][:20]
    'out of memory: 12 GB'
    """
    if isinstance(error, UsageError):
        return 2, with_flags(error, known)
    if isinstance(error, RunError):
        return 1, with_flags(error, known)
    if is_broken_connection(error):
        return 1, (
            f"another process of this run ended unexpectedly; the system may have killed it because memory ran out "
            f"({_first_line(error)})"
        )
    if _is_out_of_memory(error):
        return 1, f"out of memory: {_first_line(error)}. Saved files are kept." + _advice_on_memory(error, known)
    if isinstance(error, OSError):
        return 1, f"{error.filename or 'the system'}: {error.strerror or error}"
    if not isinstance(error, Exception):  # KeyboardInterrupt or SystemExit: intended
        return 1, str(error) or type(error).__name__
    return 1, f"{type(error).__name__}: {error} (this is a bug in danlu; {where})"


def with_flags(error: DanluError, known: Container[str] | None = None) -> str:
    """The message, followed by those flags of the settings it names that the command has.

    >>> error = UsageError("3 files are not readable", settings=("images.unreadable=skip",))
    >>> with_flags(error), with_flags(error, known=("--count",))
    ('3 files are not readable (--images.unreadable skip)', '3 files are not readable')
    """
    settings = [s for s in error.settings if known is None or flag_name(s.partition("=")[0]) in known]
    return f"{error} ({', '.join(map(flag_of, settings))})" if settings else str(error)


def is_broken_connection(error: BaseException) -> bool:
    """Whether an error only reports that another process is gone.

    torch's own exception classes are recognized by name, because importing torch is slow. Errors of gloo have no class
    of their own, but their message names a source file of gloo.

    >>> is_broken_connection(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:29500"))
    True
    >>> is_broken_connection(ConnectionResetError("by a web server"))
    False
    """
    if not isinstance(error, RuntimeError):
        return False
    return any(cls.__name__ == "DistError" for cls in type(error).__mro__) or "gloo/" in str(error)


def _is_out_of_memory(error: BaseException) -> bool:
    """Out of memory in Python or in torch; on a CPU torch raises a plain RuntimeError."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "can't allocate" in str(error))


def _advice_on_memory(error: BaseException, known: Container[str] | None) -> str:
    """Settings that reduce the memory of a training step, if it ran out in one and the command has the settings.

    They do not help where data is read or a model is built.
    """
    in_training, traceback = False, error.__traceback__
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        in_training, traceback = in_training or module == "danlu.training.trainer", traceback.tb_next
    if not in_training or (known is not None and "--batch-size" not in known):
        return ""
    return (
        " Use a smaller --batch-size, --grad-accumulation 2 (the same result with about half the memory), or "
        "--precision bf16"
    )


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
