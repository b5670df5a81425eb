"""The verdicts of the experiments at two sets of seeds that have nothing in common.

The results are the source of the table in the documentation. A test compares them with the criteria in the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, machine
from danlu.app.experiments.runner import experiment
from danlu.experiments.harness.parallel import process_count

FORMAT = 1
FOLDER = RESULTS / "experiments"
SEEDS = (0, 1)


def run(name: str, write: bool = False, folder: Path = FOLDER) -> bool:
    """Run an experiment with both seeds, print its verdicts, and with ``write`` store them with the measured arms.

    Returns:
        Whether the verdict is the same.
    """
    runs = [_one(name, seed) for seed in SEEDS]
    if write:
        facts = {**machine(), "processes": str(process_count("auto"))}
        page = {"format": FORMAT, "name": name, "machine": facts, "runs": runs}
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(page, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return len({entry["verdict"] for entry in runs}) == 1


def _one(name: str, seed: int) -> dict[str, Any]:
    result = experiment(name, seed=seed, out=None)
    return {
        "seed": seed,
        "verdict": result.verdict,
        "reason": result.reason,
        "findings": result.findings,
        "arms": result.numbers.get("arms", {}),
        "cpu_seconds": round(result.cpu_seconds, 1),
        "wall_seconds": round(result.seconds, 1),
    }
