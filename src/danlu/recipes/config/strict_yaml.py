"""A strict subset of YAML: plain values with their line numbers; all errors are collected.

Plain values are null, true, false, numbers in any notation, text, lists and mappings. ``yes``, ``1:30`` and
``2026-01-01`` are text, ``1e-3`` and ``.5`` are numbers, ``010`` is ten. Tags, anchors, aliases, merge keys and
repeated keys are errors, so a file cannot name code.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from danlu.errors import UsageError, short
from danlu.limits import NUMBER_CHARACTERS, PROBLEMS, RECIPE_DEPTH, RECIPE_VALUES

KeyPath = tuple[str | int, ...]


class Problem(NamedTuple):
    """An error: its line if the value comes from a file, the path of the setting, and the message."""

    line: int | None
    path: KeyPath
    text: str


class ParsedYAML(NamedTuple):
    """The content of a YAML file: values, the line of each, the original text of each scalar, and the errors."""

    values: Any
    lines: dict[KeyPath, int]
    raw: dict[KeyPath, str]
    problems: list[Problem]

    def line(self, path: KeyPath) -> int | None:
        """The line of a setting, or of the nearest mapping or list around it."""
        parents = (path[:length] for length in range(len(path), 0, -1))
        return next((self.lines[p] for p in parents if p in self.lines), None)


def read(text: str, name: str) -> ParsedYAML:
    """Read a YAML text. Values with an error are left out; the errors are listed as problems.

    Args:
        text: the YAML.
        name: the name of the file, for error messages.

    Raises:
        UsageError: if the text is not YAML, or is nested too deeply; with line and column.

    >>> read("lr: 1e-3\\nhidden: [8, 0x10]\\nmonitor: no", "mine.yaml").values
    {'lr': 0.001, 'hidden': [8, 16], 'monitor': 'no'}
    """
    try:
        composer = _Composer(text)
        root = composer.get_single_node()
    except yaml.YAMLError as error:
        raise UsageError(_syntax(error, text, name)) from None
    walker = _NodeReader(composer.refused)
    value = walker.value(root, ()) if root else None
    return ParsedYAML(None if value is REFUSED else value, walker.lines, walker.raw, walker.problems)


def failure(problems: list[Problem], name: str | None = None) -> UsageError:
    """One error for the problems, one per line, in the order of the file; of very many, the first ones."""
    in_order = sorted(problems, key=lambda problem: problem.line or 0)
    lines = [_sentence(problem, name) for problem in in_order[:PROBLEMS]]
    more = len(problems) - PROBLEMS
    return UsageError("\n".join(lines + [f"and {more:,} more error{'s' * (more > 1)}"] * (more > 0)))


def _sentence(problem: Problem, name: str | None) -> str:
    location = f"{name}:{problem.line}" if name and problem.line else name
    return ": ".join(part for part in (location, format_path(problem.path), problem.text) if part)


def format_path(path: KeyPath) -> str:
    """A key path as text.

    >>> format_path(("model", "hidden", 1))
    'model.hidden[1]'
    """
    text = ""
    for step in path:
        key = step if re.fullmatch(r"[\w-]+", str(step)) else short(repr(step))
        text += f"[{step}]" if isinstance(step, int) else f".{key}"
    return text.removeprefix(".")


_PREFIXED = re.compile(r"[-+]?0(x[0-9a-f_]+|o[0-7_]+|b[01_]+)", re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
_DECIMAL = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"[-+.]?[0-9]([0-9_.]*(e[-+]?[0-9]+)?|x[0-9a-f_]+|[ob][0-7_]+)", re.IGNORECASE)
"""a superset of the three, which is matched in linear time"""
_NAMED = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf"), math.inf),
    "-.inf": -math.inf,
    ".nan": math.nan,
}


def scalar(text: str) -> str | int | float | bool | None:
    """The value of a scalar without quotes.

    >>> [scalar(t) for t in ("1E-3", ".5", "1_000", "+3", "010", "~", "true", "yes", "1:30")]
    [0.001, 0.5, 1000, 3, 10, None, True, 'yes', '1:30']
    """
    if text in _NAMED:
        return _NAMED[text]
    if len(text) > NUMBER_CHARACTERS:
        return text
    try:
        if _PREFIXED.fullmatch(text):
            return int(text, 0)
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
    except ValueError:  # 1__0 or 1_
        pass
    return text


def _is_long_number(text: str) -> bool:
    """Whether a text is not a number only because it is too long."""
    return len(text) > NUMBER_CHARACTERS and _LONG_NUMBER.fullmatch(text) is not None


def format_value(value: Any) -> str:
    """A value as YAML in one line. This module and any reader of YAML 1.1 read the same value from it.

    >>> format_value((32, 1e-8, 40.0, None, True, "relu", "yes", {"a b": 1}))
    "[32, 1.0e-8, 40, null, true, relu, 'yes', {'a b': 1}]"

    Raises:
        UsageError: if the value is not a plain one.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int():
            return str(int(value))
        case float():
            return _float(float(value))
        case list() | tuple():
            return f"[{', '.join(format_value(item) for item in value)}]"
        case BaseModel():
            return format_value(dict(value))
        case dict():
            return f"{{{', '.join(f'{_text(str(key))}: {format_value(item)}' for key, item in value.items())}}}"
    raise UsageError(f"a recipe file cannot have {short(repr(value))}; allowed: numbers, text, lists and mappings")


def _text(text: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII) and yaml.safe_load(text) == text:
        return text
    style = "'" if text.isascii() and text.isprintable() else '"'
    quoted = yaml.dump(text, default_style=style, allow_unicode=True, width=math.inf)  # type: ignore[arg-type]
    return quoted.rstrip("\n")


def _float(number: float) -> str:
    """The shortest exact text; with a point, because in YAML 1.1 1e-8 is text."""
    if not math.isfinite(number):
        return ".nan" if math.isnan(number) else ".inf" if number > 0 else "-.inf"
    mantissa, _, exponent = repr(number).partition("e")
    if not exponent:
        negative_zero = number == 0 and mantissa.startswith("-")
        return mantissa if negative_zero else mantissa.removesuffix(".0")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent[0]}{exponent[1:].lstrip('0')}"


class _YAMLError(yaml.MarkedYAMLError):
    """An error that PyYAML does not detect, or reports without its position."""


_ESCAPE = "in double quotes, \\ starts an escape sequence"


class _Composer(yaml.SafeLoader):
    """Composes the tree of nodes without tags, anchors and aliases, and records which nodes had one."""

    def __init__(self, text: str):
        super().__init__(text)
        self.refused: dict[yaml.Node, str] = {}
        self.depth = self.values = 0

    def get_single_node(self) -> yaml.Node | None:
        try:
            return super().get_single_node()
        except (ValueError, OverflowError):  # PyYAML lets an escape beyond Unicode through to chr
            message = f"{_ESCAPE}, and this one is not a character; use single quotes"
            raise _YAMLError(None, None, message, self.get_mark()) from None

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        self.values += 1
        if self.values > RECIPE_VALUES:
            raise _YAMLError(None, None, f"more than {RECIPE_VALUES:,} values, so it is not a recipe", event.start_mark)
        if self.depth == RECIPE_DEPTH:
            raise _YAMLError(None, None, f"nested more than {RECIPE_DEPTH} levels deep", event.start_mark)
        problem = _syntax_problem(event)
        if isinstance(event, yaml.AliasEvent):
            self.get_event()
            node = yaml.ScalarNode("", "", event.start_mark, event.end_mark)
        else:
            event.anchor = event.tag = None
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
        if problem and node:
            self.refused[node] = problem
        return node


def _syntax_problem(event: Any) -> str | None:
    """The reason why the node of this event is not allowed in a recipe file, or None."""
    if isinstance(event, yaml.AliasEvent):
        return f"the alias *{short(event.anchor)} is not allowed; write the value itself"
    if event.tag is not None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        return f"the tag {short(tag)} is not allowed; a recipe file has plain values only"
    if event.anchor is not None:
        return f"the anchor &{short(event.anchor)} is not allowed; write the value where it is needed"
    if isinstance(event, yaml.ScalarEvent) and re.search("[\ud800-\udfff]", event.value):
        return "half of a surrogate pair is not a character; write the character itself"
    return None


REFUSED = object()  # stands for a value with an error


class _NodeReader:
    """Converts nodes to values and records their lines."""

    def __init__(self, refused: dict[yaml.Node, str]):
        self.refused = refused
        self.lines: dict[KeyPath, int] = {}
        self.raw: dict[KeyPath, str] = {}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, _line(node))
        children = self._children(node, path)
        if node in self.refused:
            return self._refuse(node, path, self.refused[node])
        return children

    def _children(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
            return REFUSED if any(item is REFUSED for item in items) else items
        self.raw[path] = node.value
        if getattr(node, "style", None) is None and _is_long_number(node.value):
            text = f"a number of {len(node.value):,} characters; at most {NUMBER_CHARACTERS} are allowed"
            return self._refuse(node, path, text)
        return scalar(node.value) if getattr(node, "style", None) is None else node.value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            if not self._is_name(key, path):
                continue
            key_path = (*path, key.value)
            if key_path in self.lines:
                self._refuse(key, key_path, f"set twice, first in line {self.lines[key_path]}")
                continue
            self.lines[key_path] = _line(key)
            converted = self.value(value, key_path)
            if converted is not REFUSED:
                values[key.value] = converted
        return values

    def _is_name(self, key: yaml.Node, path: KeyPath) -> bool:
        if key in self.refused:
            self._refuse(key, path, self.refused[key])
        elif not isinstance(key, yaml.ScalarNode):
            self._refuse(key, path, "a list or a mapping cannot be the name of a setting")
        elif key.value == "<<" and key.style is None:
            self._refuse(key, path, "the merge key << is not allowed; write the settings themselves")
        else:
            return True
        return False

    def _refuse(self, node: yaml.Node, path: KeyPath, text: str) -> Any:
        self.problems.append(Problem(_line(node), path, text))
        return REFUSED


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


# messages of PyYAML, and clearer ones: {0} is the first group, {line} the line where the error begins
_CLEAR_MESSAGES = {
    r"'\\t' that cannot": "a tab; indent with spaces",
    r"character (.+) that cannot": "a value cannot start with {0}; put the text in quotes",
    r"mapping values are not": "a second ':' in one line, or wrong indentation; put text that contains ':' in quotes",
    r"expected ':'": "a line without ':'; write 'name: value', or close the quote that opens here",
    r"expected ('<document|<block end)": "this line does not continue the lines above it; check its indentation",
    r"expected (',' or '[\]}]')": "{0} is missing after the bracket that opens in line {line}",
    r"expected the node content": "a value is missing here",
    r"(entries|keys) are not allowed": "a value cannot start with '-' or '?' here; start a new line",
    r"alphabetic or numeric|indentation ind|' '|URI": "a value cannot start with & * % | > or !; put it in quotes",
    r"unexpected (end of stream|document)": "the quote that opens in line {line} is never closed",
    r"escape character (.+)": _ESCAPE + ", and {0} is not one; use single quotes",
    r"expected escape sequence": _ESCAPE + ", and this one is incomplete; use single quotes",
    r"another document": "a second document starts here; a recipe file must have one document",
    r"tag handle (.+)": "the tag {0} is not allowed; a recipe file has plain values only",
}


def _syntax(error: yaml.YAMLError, text: str, name: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{name}:{line}: the character U+{error.character:04X} is not allowed in a YAML file; remove it"
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem_mark:
        return f"{name}: this is not YAML ({error})"
    mark, start = error.problem_mark, error.context_mark or error.problem_mark
    if "simple key" in (error.context or ""):
        mark = start  # the line without ':', where PyYAML points to the end of what it tried
    return f"{name}:{mark.line + 1}: column {mark.column + 1}: {_clear_message(error, start.line + 1)}"


def _clear_message(error: yaml.MarkedYAMLError, line: int) -> str:
    problem = error.problem or ""
    if isinstance(error, _YAMLError):
        return problem
    for pattern, template in _CLEAR_MESSAGES.items():
        if match := re.search(pattern, problem):
            return template.format(*match.groups(), line=line)
    return f"this is not YAML ({problem})"
