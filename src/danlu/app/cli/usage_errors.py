"""Error messages for words that tyro cannot parse: they name the option, the allowed values and the similar option.

tyro decides whether words are valid. Its own messages describe Python types and are drawn in boxes. Only if tyro
refuses the words, this module looks for the reason; if it finds none, tyro's message is used.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from difflib import SequenceMatcher, get_close_matches
from itertools import dropwhile, takewhile
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from danlu.app.cli.other_words import own_flag
from danlu.app.cli.signature import REQUIRED, Function, arguments_of
from danlu.app.console.flag import flag_name
from danlu.errors import UsageError

_SIMILAR = 0.6
_SPECIAL_NUMBERS = ("-inf", "-infinity", "-nan")
_NOUNS = {int: ("an integer", "integers"), float: ("a number", "numbers")}


class Option(NamedTuple):
    """A flag or a positional argument, and the values that it takes.

    Attributes:
        names: its flags, or the placeholder of a positional argument.
        annotation: the type of its value.
        meaning: one line of the help.
        required: whether it must be given.
    """

    names: tuple[str, ...]
    annotation: Any
    meaning: str = ""
    required: bool = False

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return _members(self.annotation) == (bool,)

    @property
    def is_variadic(self) -> bool:
        """Whether it takes any number of values."""
        return any(count is None for count, _ in _forms(self.annotation))


@contextmanager
def clear_errors(prog: str, function: Function, words: Sequence[str], page: BaseModel | None = None) -> Iterator[None]:
    """A context in which tyro parses the words of a command; an error of tyro is replaced by a clear one.

    Args:
        prog: the command, as it was typed.
        function: the function of the command.
        words: the words after ``prog``.
        page: settings that are also flags of the command.

    Raises:
        UsageError: if tyro refuses the words.
    """
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            yield
        _check_repeats(prog, words)
    except SystemExit as ended:
        if not ended.code:
            raise
        explain_words(prog, function, words, page)
        raise UsageError(f"{_command(prog)}: {_without_box(printed.getvalue())}{_see_help(prog)}") from None


def _without_box(text: str) -> str:
    """The sentences of a message of tyro, which is drawn in a box.

    >>> _without_box("╭─ Value error ──╮\\n│ --n: not valid │\\n│ ────────────── │\\n│ For help, see x │\\n╰────────╯")
    '--n: not valid'
    """
    lines = [line.strip("│ ") for line in text.splitlines()[1:]]
    first_part = takewhile(lambda line: not set(line) <= {"─", "-", "╰", "╯"}, dropwhile(lambda line: not line, lines))
    return " ".join(first_part) or "invalid arguments"


def explain_words(prog: str, function: Function, words: Sequence[str], page: BaseModel | None = None) -> None:
    """Find the error in flags, values and arguments of a command.

    Args:
        prog: the command, as it was typed.
        function: of the command.
        words: the words after ``prog``.
        page: settings that are also flags of the command.

    Raises:
        UsageError: the error: an unknown option, a missing or invalid value, or a wrong number of arguments.

    >>> from danlu.app.cli.commands.recipes import check
    >>> explain_words("danlu check", check, ["a.yaml", "--jsn"])
    Traceback (most recent call last):
    danlu.errors.UsageError: check: unknown option --jsn; did you mean --json? `danlu check --help` lists all arguments
    and options
    """
    arguments = [a for a in arguments_of(function) if page is None or a.flags]
    options = [Option(a.flags, a.annotation, a.meaning, a.default is REQUIRED) for a in arguments if a.flags] + [
        *(_settings(page) if page is not None else ())
    ]
    positional = [
        Option((a.name.upper(),), a.annotation, a.meaning, a.default is REQUIRED) for a in arguments if not a.flags
    ]
    given, values = _split(prog, options, words)
    for option in options:
        if option.required and option not in given:
            name = max(option.names, key=len)
            raise UsageError(f"{_command(prog)}: the option {name} is required: {option.meaning}{_see_help(prog)}")
    _check_arguments(prog, positional, values, [flag for option in options for flag in option.names])


def _split(prog: str, options: list[Option], words: Sequence[str]) -> tuple[list[Option], list[str]]:
    """Check the options; return those that are given, and the positional arguments."""
    by_name = {name: option for option in options for name in option.names}
    given: list[Option] = []
    arguments: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":  # only arguments follow
            return given, [*arguments, *words[position:]]
        if not _is_flag(word):
            arguments.append(word)
            continue
        name, assigned, value = word.partition("=")
        name = name.replace("_", "-")
        option = by_name.get(name) or (by_name.get(name[:2]) if name[1:2] != "-" else None)
        if option is None:
            suggestion = _suggestion(name, options)
            see_help = _see_help(prog, "" if suggestion.endswith("?") else ";")
            raise UsageError(f"{_command(prog)}: unknown option {name}{suggestion}{see_help}")
        given.append(option)
        if name not in by_name:  # a short flag with its value, as in -n5
            _check_value(prog, name[:2], option, [word[2:].removeprefix("=")])
            continue
        if option.is_switch:
            if assigned:
                raise UsageError(f"{_command(prog)}: the option {name} takes no value, got {value!r}")
            continue
        values = [value] if assigned else []
        most = None if option.is_variadic else max(count or 0 for count, _ in _forms(option.annotation))
        while not assigned and position < len(words) and not _is_flag(words[position]) and words[position] != "--":
            if most is not None and len(values) == most:
                break
            values.append(words[position])
            position += 1
        _check_value(prog, name, option, values)
    return given, arguments


def _check_repeats(prog: str, words: Sequence[str]) -> None:
    """Check that no option is given twice, of which only the last would count.

    Raises:
        UsageError: if one is.

    >>> _check_repeats("danlu train mlp", ["--epochs", "1", "--epochs=2"])
    Traceback (most recent call last):
    danlu.errors.UsageError: train mlp: the option --epochs is given twice; give it once
    """
    seen: set[str] = set()
    for word in takewhile(lambda word: word != "--", words):
        name = word.partition("=")[0].replace("_", "-")
        if word.startswith("--") and name in seen:
            raise UsageError(f"{_command(prog)}: the option {name} is given twice; give it once")
        seen.add(name)


def _is_flag(word: str) -> bool:
    """Whether a word is a flag and not a value, as tyro decides it.

    >>> [_is_flag(word) for word in ("--lr", "-n", "-0.5", "-", "-inf", "a-b")]
    [True, True, False, False, False, False]
    """
    return word[:1] == "-" and word.lstrip("-")[:1].isalpha() and word.lower() not in _SPECIAL_NUMBERS


def _check_value(prog: str, name: str, option: Option, values: list[str]) -> None:
    """Check the number and the type of the values of an option.

    Raises:
        UsageError: if no form of the option fits.
    """
    forms = _forms(option.annotation)
    if any(_fits(form, values) for form in forms):
        return
    if not values:
        raise UsageError(f"{_command(prog)}: the option {name} needs a value: {_allowed(option)}")
    text = " ".join(values)
    choices = _choices(option.annotation)
    same = [choice for choice in choices if choice.lower() == text.lower()]
    close = same or get_close_matches(text, choices, n=1, cutoff=_SIMILAR)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"{_command(prog)}: {name}: expected {_allowed(option)}, got {text!r}{hint}")


def _check_arguments(prog: str, arguments: list[Option], words: list[str], flags: list[str]) -> None:
    """Check the number of positional arguments, and their values.

    Raises:
        UsageError: if there are too few or too many, or a value is not allowed.
    """
    needed = [argument for argument in arguments if argument.required and not argument.is_variadic]
    if len(words) < len(needed):
        missing = needed[len(words)]
        raise UsageError(
            f"{_command(prog)}: the argument {missing.names[0]} is missing: {missing.meaning}{_see_help(prog)}"
        )
    if not any(argument.is_variadic for argument in arguments) and len(words) > len(arguments):
        word = words[len(arguments)]
        name, assigned, value = word.partition("=")
        own = own_flag(name, flags) if assigned else None
        hint = f"; did you mean {own if ' ' in own else f'{own} {value}'}?" if own else ""
        raise UsageError(f"{_command(prog)}: unexpected argument {word!r}{hint}{_see_help(prog, '' if hint else ';')}")
    for argument, word in zip(arguments, words, strict=False):
        if argument.is_variadic:
            return
        _check_value(prog, argument.names[0], argument, [word])


def _suggestion(name: str, options: list[Option]) -> str:
    """The option that was probably meant, from its name or its meaning; else the available options, if they are few."""
    if own := own_flag(name, [flag for option in options for flag in option.names]):
        return f"; did you mean {own}?"
    best = max(
        ((_similarity(name, flag, option.meaning), flag) for option in options for flag in option.names),
        default=(0.0, ""),
    )
    if best[0] >= _SIMILAR:
        return f"; did you mean {best[1]}?"
    names = [max(option.names, key=len) for option in options]
    return f"; available: {', '.join(names)}" if 0 < len(names) <= 20 else ""


def _similarity(name: str, flag: str, meaning: str) -> float:
    """Similarity from 0 to 1 of an unknown flag to a flag, its last part, or the beginning of its meaning.

    >>> _similarity("--lerning-rate", "--lr", "peak learning rate; above 0") > 0.7
    True
    """
    words = name.lstrip("-").rpartition(".")[2].replace("-", " ")
    subject = meaning.partition(";")[0].partition(",")[0].partition(":")[0]
    texts = (flag.lstrip("-"), flag.rpartition(".")[2].lstrip("-").replace("-", " "), subject)
    sides = (name.lstrip("-"), words, words)
    weights = (1.0, 0.99, 0.9)
    return max(w * SequenceMatcher(None, a, b).ratio() for w, a, b in zip(weights, sides, texts, strict=True))


def _command(prog: str) -> str:
    """The command without the name of the program, which comes before every message."""
    return prog.removeprefix("danlu ")


def _see_help(prog: str, mark: str = ";") -> str:
    return f"{mark} `{prog} --help` lists all arguments and options"


def _settings(page: BaseModel, prefix: str = "") -> Iterator[Option]:
    """The settings of a recipe or of data as options; a switch also has the form ``--no-NAME``."""
    for name, field in type(page).model_fields.items():
        value = getattr(page, name)
        if isinstance(value, BaseModel):
            yield from _settings(value, f"{prefix}{name}.")
            continue
        flags = [flag_name(prefix + name)]
        option = Option(tuple(flags), field.annotation, " ".join((field.description or "").split()))
        yield option._replace(names=(*flags, flag_name(f"{prefix}no_{name}"))) if option.is_switch else option


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, without None; Annotated is removed."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(m for member in get_args(annotation) if member is not NoneType for m in _members(member))
    return (annotation,)


def _forms(annotation: Any) -> list[tuple[int | None, list[Any]]]:
    """Each form of a value: the number of words (None for any number) and their types."""
    forms: list[tuple[int | None, list[Any]]] = []
    for member in _members(annotation):
        if get_origin(member) is tuple:
            items = get_args(member)
            variadic = len(items) == 2 and items[1] is Ellipsis
            forms.append((None, [items[0]]) if variadic else (len(items), list(items)))
        else:
            forms.append((1, [member]))
    if NoneType in get_args(annotation):
        forms.append((1, [NoneType]))
    return forms


def _fits(form: tuple[int | None, list[Any]], values: list[str]) -> bool:
    count, types = form
    if count is None:
        return all(_is_a(types[0], value) for value in values)
    return len(values) == count and all(map(_is_a, types, values))


def _is_a(annotation: Any, word: str) -> bool:
    """Whether a word can be converted to a type; types that are not known here are left to tyro."""
    for member in _members(annotation):
        if get_origin(member) is Literal:
            if word in map(str, get_args(member)):
                return True
        elif member is NoneType:
            if word == "None":
                return True
        elif member is bool:
            if word in ("True", "False"):
                return True
        elif member in _NOUNS:
            try:
                member(word)
            except ValueError:
                continue
            return True
        else:
            return True
    return False


def _choices(annotation: Any) -> list[str]:
    items = [m for _, types in _forms(annotation) for item in types for m in _members(item)]
    return [str(word) for item in items if get_origin(item) is Literal for word in get_args(item)]


def _allowed(option: Option) -> str:
    """The values that an option takes.

    >>> _allowed(Option(("--fit",), Literal["crop", "pad"])), _allowed(Option(("--scale",), tuple[float, float]))
    ('one of crop, pad', '2 numbers')
    """
    parts = []
    for count, types in _forms(option.annotation):
        members = [m for item in types for m in _members(item) if m is not NoneType]
        nouns = [_NOUNS[m] for m in dict.fromkeys(members) if m in _NOUNS]
        if choices := [str(w) for m in members if get_origin(m) is Literal for w in get_args(m)]:
            parts.append(f"one of {', '.join(dict.fromkeys(choices))}" if len(choices) > 1 else choices[0])
        if nouns and count != 1:
            parts.append(nouns[0][1] if count is None else f"{count} {nouns[0][1]}")
        elif nouns:
            parts.append(nouns[0][0])
    return " or ".join(dict.fromkeys(parts)) or option.meaning or "a value"
