"""The result of an experiment, as plain values."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.experiments.harness.experiment import Numbers, Table


@dataclass(frozen=True)
class ExperimentResult:
    """The result of an experiment.

    Attributes:
        name: name of the experiment.
        section: section of the notes.
        line: line of the notes.
        group: chapter of the notes.
        claim: the claim of the notes.
        seed: random seed.
        numbers: the measured values.
        table: the measured values as text, below a row of column names.
        findings: the comparisons on which the verdict is based, as text, below a row of column names.
        verdict: holds, holds with limits, does not hold, or not decided; None if it failed.
        reason: the conclusion.
        demonstration: whether mathematics or a hand-made case decides.
        method: what is done, in two sentences.
        caption: what the figure shows.
        repetitions: seed and verdict of further runs with other seeds.
        figure: path of the figure, if it was written.
        seconds: duration.
        cpu_seconds: processor time of the measurement, of all processes together.
        error: the error, if it failed.
        svg: the figure as SVG.
    """

    name: str
    section: str
    line: int
    group: str
    claim: str
    seed: int
    numbers: Numbers = field(default_factory=dict, repr=False)
    table: Table = field(default_factory=list, repr=False)
    findings: Table = field(default_factory=list, repr=False)
    verdict: str | None = None
    reason: str = ""
    demonstration: bool = False
    method: str = field(default="", repr=False)
    caption: str = field(default="", repr=False)
    repetitions: tuple[tuple[int, str], ...] = ()
    figure: Path | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    error: str | None = None
    svg: str = field(default="", repr=False)

    @property
    def command(self) -> str:
        """The command that repeats the experiment."""
        return shlex.join(["danlu", "experiment", self.name, *(["--seed", str(self.seed)] if self.seed else [])])

    @property
    def verdict_text(self) -> str:
        """The verdict, with the mark of a demonstration."""
        return f"{self.verdict} (demonstration)" if self.demonstration else str(self.verdict)

    @property
    def repeated_text(self) -> str:
        """Whether the verdict is the same with other seeds; empty if there is one run."""
        if not self.repetitions:
            return ""
        other = [f"seed {seed}: {word}" for seed, word in self.repetitions if word != self.verdict]
        seeds = ", ".join(str(seed) for seed in (self.seed, *(seed for seed, _ in self.repetitions)))
        return f"the verdict changes: {', '.join(other)}" if other else f"the same verdict with the seeds {seeds}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("name", "section", "line", "group", "claim", "demonstration", "seed", "numbers", "verdict", "reason",
                 "findings", "seconds")  # fmt: skip
        failed = {} if self.error is None else {"error": self.error}
        repeated = {"repetitions": [{"seed": seed, "verdict": word} for seed, word in self.repetitions]}
        return {
            **{n: getattr(self, n) for n in names},
            "figure": self.figure and str(self.figure),
            **(repeated if self.repetitions else {}),
            **failed,
        }
