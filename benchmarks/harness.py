"""How a ratio is measured: one process, strictly alternating, medians of pairs."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_info

FORMAT = 2
RESULTS = Path(__file__).parent / "results"


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: of the benchmark.
        peer: what a user would run instead, with its version.
        unit: of both times.
        theirs: median of the peer.
        ours: median of danlu.
        ratio: median of theirs / ours over the pairs, or None where a difference is what counts.
        spread: lower and upper quartile of the ratio, or of the difference.
        difference: median of ours - theirs over the pairs.
        target: what was promised, in words.
        met: whether it was.
        notes: context that is needed to interpret the result.
    """

    name: str
    peer: str
    unit: str
    theirs: float
    ours: float
    ratio: float | None
    spread: tuple[float, float]
    difference: float
    target: str
    met: bool
    notes: str = ""

    def lines(self) -> list[str]:
        """The row for people."""
        ratio = "" if self.ratio is None else f"  ratio {self.ratio:.2f} ({self.spread[0]:.2f}–{self.spread[1]:.2f})"
        lines = [f"{self.name:<18} {self.ours:>10.3f} {self.unit}  {self.peer}: {self.theirs:.3f}{ratio}"]
        if self.ratio is None:
            spread = f"({self.spread[0]:.3f}–{self.spread[1]:.3f})"
            lines.append(f"{'':<18} difference {self.difference:.3f} {spread} {self.unit}")
        return [*lines, f"{'':<18} target {self.target}: {'met' if self.met else 'NOT met'}. {self.notes}"]


@dataclass
class Score:
    """A published number beside ours.

    Attributes:
        name: of the benchmark.
        metric: what is measured, on what.
        published: the number and its source, or that there is none.
        values: ours, one for each seed.
        protocol: what differs from the published one, and how it was run.
        seconds: for all seeds.
        target: what was promised, in words.
        met: whether it was.
    """

    name: str
    metric: str
    published: str
    values: list[float]
    protocol: str
    seconds: float
    target: str
    met: bool

    def lines(self) -> list[str]:
        """The row for people."""
        mean = statistics.mean(self.values)
        some = f" ± {statistics.stdev(self.values):.4f} over {len(self.values)} seeds" if len(self.values) > 1 else ""
        return [
            f"{self.name:<18} {mean:.4f}{some}, {self.metric}",
            f"{'':<18} published: {self.published}. {self.protocol}. {self.seconds:.0f} s",
            f"{'':<18} target {self.target}: {'met' if self.met else 'NOT met'}",
        ]


def alternate(theirs: Callable[[], float], ours: Callable[[], float], pairs: int = 15) -> list[tuple[float, float]]:
    """Times of both, measured in turn A B A B, after one warm-up of each."""
    theirs(), ours()
    return [(theirs(), ours()) for _ in range(pairs)]


def compared(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """What a row says of pairs of theirs and ours: medians of both, of their ratio and of their difference."""
    ratios = [a / b for a, b in pairs]
    return {
        "theirs": statistics.median(a for a, _ in pairs),
        "ours": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "spread": quartiles(ratios),
        "difference": statistics.median(b - a for a, b in pairs),
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process that some work takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def quartiles(values: list[float]) -> tuple[float, float]:
    """Lower and upper quartile."""
    lower, _, upper = statistics.quantiles(values, n=4)
    return lower, upper


def machine() -> dict[str, str]:
    """What a figure was measured on."""
    names = ("danlu", "torch", "numpy", "scikit-learn")
    return {
        "processor": _processor(),
        "instructions": _instructions(),
        "blas": _blas(),
        "threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        **{name: _version(name) for name in names},
    }


def hardware() -> str:
    """Name of the kind of hardware, for which a result is kept: the GPU, or the instructions of the processor."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else _instructions()


def publish(rows: Iterable[Row | Score], write: bool = False) -> bool:
    """Print each row as soon as it is there; with ``write``, store it as JSON with machine and versions.

    The file of a benchmark has one result for each kind of hardware.

    Returns:
        Whether all targets are met.
    """
    met = []
    facts = machine()
    print(f"{facts['processor']}, {facts['instructions']}, {facts['blas']}, {facts['device']}", flush=True)
    for row in rows:
        print("\n".join(row.lines()), flush=True)
        met.append(row.met)
        if write:
            path = RESULTS / f"{row.name}.json"
            stored = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else {}
            results = {**stored, hardware(): {**asdict(row), "machine": machine()}}
            page = {"format": FORMAT, "results": dict(sorted(results.items()))}
            path.write_text(json.dumps(page, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return all(met)


def flags(changes: Mapping[str, object]) -> str:
    """Settings as words of a command line.

    >>> flags({"lr": 0.1, "critic.hidden": (8, 8), "compile": True})
    '--lr 0.1 --critic.hidden 8 8 --compile'
    """
    return " ".join(f"--{name.replace('_', '-')}{_words(value)}" for name, value in changes.items())


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "" if value else " False"
    return " " + (" ".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _blas() -> str:
    """Library and kernel of numpy's matrix products."""
    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "torch" not in pool["filepath"]]
    return ", ".join(f"{pool['internal_api']} {pool.get('architecture', '')}".strip() for pool in found) or "unknown"


def _instructions() -> str:
    """The instruction set of the processor, with the instructions for products in bfloat16 if it has them."""
    flags, known = _cpuinfo("flags").split(), {"avx512_bf16": "BF16", "amx_bf16": "AMX"}
    return "_".join([torch.backends.cpu.get_cpu_capability(), *(known[flag] for flag in known if flag in flags)])


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    """What Linux says of the first core under a name; nothing on other systems."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
