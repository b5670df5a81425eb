"""The errors that a user meets: UsageError and RunError, and hints for misspelled names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from danlu.limits import HINT_CHARACTERS, HINT_NAMES

_MOST = 50  # names that a hint lists


class DanluError(Exception):
    """Base of the errors whose message is meant for the user.

    The message names settings by their dotted name, as a recipe file and Python do. The command line appends the flags
    of ``settings`` to it.

    Args:
        message: the problem, its place, the allowed values, the remedy.
        settings: the settings to look at, each as ``"name"`` or, to suggest a value, ``"name=value"``.

    >>> error = UsageError("no test part is split off; leave split.test out", settings=("split.test",))
    >>> str(error), error.settings
    ('no test part is split off; leave split.test out', ('split.test',))
    """

    def __init__(self, message: str = "", *, settings: tuple[str, ...] = ()):
        super().__init__(message)
        self.settings = settings

    def __reduce__(self) -> tuple[Any, ...]:
        """For a copy in another process: message and attributes, whatever arguments a subclass is made from."""
        return _restored, (type(self), self.args, vars(self))


def _restored(kind: type[DanluError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> DanluError:
    """An error with its message and attributes."""
    error = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error


class UsageError(DanluError, ValueError):
    """The request is invalid: an unknown name, an invalid value, an impossible combination (exit code 2)."""


class RunError(DanluError, RuntimeError):
    """The request is valid, but an error occurred while carrying it out (exit code 1)."""


class Diverged(RunError):
    """A loss or a gradient is not finite; the optimizer step was not made.

    Attributes:
        player: the player whose turn it was.
        term: the term that is not finite; None if only a gradient is not finite.
        round: the round, counted from 0.
        tensor: name of the first tensor that is not finite.
    """

    def __init__(self, player: str, term: str | None, round: int, tensor: str):
        self.player, self.term, self.round, self.tensor = player, term, round, tensor
        what = f"the term {term!r}" if term else "the gradient"
        super().__init__(
            f"{what} of player {player!r} is not finite in round {round} (first tensor that is not finite: {tensor}); "
            f"the step was not made. Try a smaller lr or set grad_clip, and check the data for NaN"
        )


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint that ends an error message: the nearest valid name, or the valid names if none is similar.

    Among very many names, and for a very long name, none is searched.

    >>> nearest("cmn", ["cnn", "mlp"])
    "did you mean 'cnn'?"
    >>> nearest("zebra", ["cnn", "mlp"])
    'available: cnn, mlp'
    >>> nearest("CNN", ["cnn", "mlp"])
    "did you mean 'cnn'?"
    """
    names = sorted(names)
    is_short = len(name) <= HINT_CHARACTERS and len(names) <= HINT_NAMES
    same = [known for known in names if is_short and known.lower() == name.lower()]
    close = same or (get_close_matches(name, filter(_is_short, names), n=1, cutoff=0.6) if is_short else [])
    return f"did you mean {close[0]!r}?" if close else f"available: {few(names, _MOST)}"


def _is_short(name: str) -> bool:
    return len(name) <= HINT_CHARACTERS


def short(text: str, most: int = 60) -> str:
    """A text, shortened to a number of characters.

    >>> short("a" * 100)[-5:]
    'aa...'
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def few(names: Sequence[str], most: int = 8) -> str:
    """Names separated by commas; of a long list, the first ones and the number of the others.

    >>> few(["a", "b", "c", "d"], most=2), few(["a", "b"])
    ('a, b and 2 more', 'a, b')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
