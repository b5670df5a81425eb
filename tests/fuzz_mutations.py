"""Mutations of files: of bytes, of numbers in a text, and of values in JSON."""

import json
import random
import re
from typing import Any, Literal

Form = Literal["json", "text", "bytes"]

NUMBERS = (
    *("0", "-1", "1", "7", "255", "65536", "1000000", "2147483648", "1000000000000", "9223372036854775808", "1e999"),
    *("9" * 5_000, "1.5", "-0.0", "NaN", "1e-400", "true", '"2"'),
)
TEXTS = ("", " ", "\0", "\ud800", "a" * 100_000, "../..", "[31m", "\u202e", "images", "MLP", "null", "-", "${x}", "NaN")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 1.5, 1e300, float("nan"), float("inf"), 2**31, 10**12, 2**63, 10**30, 10**400),
    *([], {}, [0], [[[[]]]], {"model": "MLP", "arguments": {}}, [1] * 5_000, {"": {}}, [None], ["a"], [10**12] * 3),
)


def mutate(content: bytes, form: Form, rng: random.Random) -> bytes:
    """One to three changes of a file."""
    if form == "json" and rng.random() < 0.7:
        return _mutate_json(content, rng)
    changes = [_flip, _delete, _repeat, _insert, _cut, _word] + [_number] * (2 if form != "bytes" else 1)
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(changes)(content, rng)
    return content


def _span(content: bytes, rng: random.Random, most: int = 64) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.randint(1, most))


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8)) if content else 0):
        changed[rng.randrange(len(changed))] = rng.choice((0, 255, 127, 128, 34, 92, 44, 10, rng.randrange(256)))
    return bytes(changed)


def _delete(content: bytes, rng: random.Random) -> bytes:
    start, stop = _span(content, rng)
    return content[:start] + content[stop:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start, stop = _span(content, rng)
    return content[:stop] + content[start:stop] * rng.choice((1, 2, 10, 1_000)) + content[stop:]


def _insert(content: bytes, rng: random.Random) -> bytes:
    start, _ = _span(content, rng)
    new = rng.choice((rng.randbytes(rng.randint(1, 32)), *(text.encode("utf-8", "surrogatepass") for text in TEXTS)))
    return content[:start] + new + content[start:]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _word(content: bytes, rng: random.Random) -> bytes:
    """Replace a binary number of 2 to 8 bytes."""
    size, order = rng.choice((2, 4, 8)), rng.choice(("little", "big"))
    start, _ = _span(content, rng, 1)
    value = rng.choice((0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1))
    return content[:start] + (value % 256**size).to_bytes(size, order) + content[start + size :]


def _number(content: bytes, rng: random.Random) -> bytes:
    """Replace a number in a text."""
    if not (numbers := list(re.finditer(rb"-?\d+(\.\d+)?", content))):
        return _flip(content, rng)
    start, stop = rng.choice(numbers).span()
    return content[:start] + rng.choice(NUMBERS).encode() + content[stop:]


def _mutate_json(content: bytes, rng: random.Random) -> bytes:
    lines = content.decode().splitlines() if content.count(b"\n{") else [content.decode()]
    number = rng.randrange(len(lines))
    page = json.loads(lines[number])
    for _ in range(rng.randint(1, 3)):
        page = _mutate_value(page, rng)
    lines[number] = json.dumps(page)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _mutate_value(value: Any, rng: random.Random) -> Any:
    """Change one value somewhere inside, or a name."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        action = rng.random()
        if action < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if action < 0.2:
            return {rng.choice((*TEXTS, *value)) if name == key else name: item for name, item in value.items()}
        return {**value, key: _mutate_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        index = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:index] + value[index + 1 :] + value[index : index + 1] * rng.choice((0, 2, 1_000))
        return [*value[:index], _mutate_value(value[index], rng), *value[index + 1 :]]
    return rng.choice((*VALUES, *TEXTS))
