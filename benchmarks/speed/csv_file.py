"""From a CSV file of 400,000 rows and 20 columns to a trained and tested classifier: 200 steps of an MLP.

Both are whole processes, import included: the command ``danlu train mlp``, with report and model card, and a script
with pandas and scikit-learn that reads, splits, scales, takes as many steps on batches of the same size with the same
hidden layer, and scores the test part.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, alternate, compared

ROWS, COLUMNS, STEPS, BATCH, WIDTH, LR, PAIRS, TARGET = 400_000, 20, 200, 64, 128, 1e-3, 7, 1.5
SCRIPT = f"""
import sys
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

table = pd.read_csv(sys.argv[1])
x, y = table.drop(columns="target"), table["target"]
x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
scaler = StandardScaler().fit(x)
x, x_test = scaler.transform(x).astype(np.float32), scaler.transform(x_test).astype(np.float32)
y, order = y.to_numpy(), np.random.default_rng(0).permutation(len(x))
network = MLPClassifier(({WIDTH},), alpha=0.0, learning_rate_init={LR}, batch_size={BATCH}, random_state=0)
for step in range({STEPS}):
    rows = order[step * {BATCH} : (step + 1) * {BATCH}]
    network.partial_fit(x[rows], y[rows], classes=np.unique(y) if step == 0 else None)
print(network.score(x_test, y_test))
"""


def run() -> list[Row]:
    """One row, in seconds of processor time of the whole process on one thread."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(folder / "table.csv")
        scores: dict[str, float] = {}
        pairs = alternate(
            lambda: _seconds(lambda: scores.update(theirs=_by_sklearn(folder))),
            lambda: _seconds(lambda: scores.update(ours=_by_danlu(folder))),
            PAIRS,
        )
    found = compared(pairs)
    row = Row(
        name="csv",
        peer=f"pandas {version('pandas')}, scikit-learn {version('scikit-learn')}",
        unit="s",
        **found,
        target=f"at least {TARGET} times as fast",
        met=found["ratio"] >= TARGET,
        notes=f"{STEPS} steps on {BATCH} rows; test accuracy {scores['theirs']:.4f} theirs, {scores['ours']:.4f} ours; "
        "ours includes survey, report and model card",
    )
    return [row]


def _write(path: Path) -> None:
    """A table of normal features; the class depends on two hidden linear functions of them."""
    source = np.random.default_rng(0)
    x = source.normal(size=(ROWS, COLUMNS)).round(6)
    hidden = x @ source.normal(size=(COLUMNS, 2))
    target = (hidden[:, 0] > 0).astype(int) + 2 * (hidden[:, 1] > 0)
    names = [*(f"x{number}" for number in range(COLUMNS)), "target"]
    with path.open("w", encoding="ascii") as file:
        file.write(",".join(names) + "\n")
        np.savetxt(file, np.column_stack([x, target]), fmt=["%.6f"] * COLUMNS + ["%d"], delimiter=",")


def _by_sklearn(folder: Path) -> float:
    return float(_output([sys.executable, "-c", SCRIPT, str(folder / "table.csv")], folder))


def _by_danlu(folder: Path) -> float:
    shutil.rmtree(folder / "run", ignore_errors=True)
    settings = {
        "data": f"table:{folder / 'table.csv'}",
        "table.target": "target",
        "rounds": STEPS,
        "batch-size": BATCH,
        "model.hidden": WIDTH,
        "model.dropout": 0.0,
        "lr": LR,
        "weight-decay": 0.0,
        "schedule": "constant",
        "evaluate-every": STEPS,
        "threads": 1,
        "out": folder / "run",
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    code = "from danlu.app.cli.main import program; program()"
    _output([sys.executable, "-c", code, "train", "mlp", *words], folder)
    return json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))["scores"]["test"]["accuracy"]


def _output(words: list[str], folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def _seconds(work: Callable[[], object]) -> float:
    """Processor time of the processes that some work starts."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime
