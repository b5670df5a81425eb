"""The types of the values in run.json and metrics.jsonl, which may come from elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from danlu.storage.json_page import Count, Number, parse_json, read_number

_OTHER_KEYS = ConfigDict(extra="allow")
_Processes = Annotated[int, Field(ge=1, le=1 << 16)]
_Threads = Annotated[int, Field(ge=1, le=1 << 10)]


class DataPage(TypedDict, total=False):
    """The data set of a run: name, fingerprint, folder, and the number of examples of each part."""

    __pydantic_config__ = _OTHER_KEYS  # pyright: ignore[reportGeneralTypeIssues]
    name: str
    fingerprint: str
    dir: str | None
    train: Count
    validation: Count
    test: Count


class BestPage(TypedDict, total=False):
    """The round with the best score."""

    __pydantic_config__ = _OTHER_KEYS  # pyright: ignore[reportGeneralTypeIssues]
    monitor: str
    score: Number | None
    round: Count | None


class RunPage(TypedDict, total=False):
    """The content of run.json; ``runs.manifest`` and ``runs.finish`` write it."""

    __pydantic_config__ = _OTHER_KEYS  # pyright: ignore[reportGeneralTypeIssues]
    format: Count
    recipe: str
    status: Literal["new", "training", "stopped", "failed", "finished"]
    command: str
    settings: dict[str, Any]
    versions: dict[str, str]
    device: Literal["cpu", "cuda", "mps"]
    device_reason: str | None
    precision: str
    threads: _Threads
    ranks: _Processes
    data: DataPage
    fingerprints: dict[str, str]
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)]
    parameters: Count
    started: str
    round: Count
    rounds: Count
    seconds: Number
    stopped_early: bool
    weights: Literal["best", "average", "last"]
    best: BestPage | None
    diagnosis: str | None
    temperature: Number | None
    scores: dict[str, dict[str, Number]]
    error: str | None


def read_entry(line: bytes) -> dict[str, float] | None:
    """The content of a line of metrics.jsonl: the round and numbers; None if it is something else.

    >>> read_entry(b'{"round": 2, "loss": "NaN"}'), read_entry(b'{"round": "2"}'), read_entry(b'{"round": 2')
    ({'round': 2, 'loss': nan}, None, None)
    """
    try:
        page = parse_json(line.decode())
    except ValueError:
        return None
    if not isinstance(page, dict) or type(page.get("round")) is not int or not 0 <= page["round"] <= 2**53:
        return None
    entry = {name: read_number(value) for name, value in page.items()}
    return entry if all(map(_is_number, entry.values())) else None


def _is_number(value: object) -> bool:
    """Whether a value is a number that can be converted to a float."""
    return type(value) is float or (type(value) is int and abs(value) < 2**1000)
