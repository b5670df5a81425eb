"""How soon the command line answers, and that it does so without torch."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.harness import Row, alternate, quartiles


def run() -> list[Row]:
    """``danlu --help`` and ``danlu list`` beside an import of torch."""
    return [_row("--help"), _row("list")]


def _row(word: str) -> Row:
    pairs = alternate(lambda: _seconds("import torch"), lambda: _seconds(_command(word)), pairs=7)
    ours = statistics.median(b for _, b in pairs)
    without = "torch" not in _modules(word)
    return Row(
        name=f"startup-{word.strip('-')}",
        peer="python -c 'import torch'",
        unit="s",
        theirs=statistics.median(a for a, _ in pairs),
        ours=ours,
        ratio=statistics.median(a / b for a, b in pairs),
        spread=quartiles([a / b for a, b in pairs]),
        difference=statistics.median(b - a for a, b in pairs),
        target="under 0.5 s without importing torch",
        met=ours < 0.5 and without,
        notes="wall time of the whole process" if without else "it imports torch",
    )


def _command(word: str) -> str:
    return f"from danlu.app.cli.main import main; main([{word!r}])"


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _modules(word: str) -> set[str]:
    code = f"import sys\ntry:\n    {_command(word)}\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stderr.split())
