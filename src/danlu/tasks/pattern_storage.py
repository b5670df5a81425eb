"""Storage of patterns in an associative memory: one turn without an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch
from danlu.data.base.dataset import Part
from danlu.errors import UsageError
from danlu.metrics.recall import overlaps, recalled
from danlu.models.energy.hopfield import Hopfield
from danlu.tasks.task import Task, Terms, Turn, Update


class PatternStorage(Task):
    """Stores each training example as a pattern; a round stores the patterns of its batch.

    Held-out examples are damaged patterns with the original in the field ``pattern``. The scores are the ``overlap`` of
    the recalled states with the originals, the fraction that is ``recalled`` without an error, and the fraction of
    stored patterns that are ``stable``: their own recall ends at them.

    Args:
        memory: the memory.
        inputs: name of the batch field with the examples.

    >>> x = torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    >>> task = PatternStorage(Hopfield((4,), patterns=2), inputs="x")
    >>> batch = Batch({"x": x, "pattern": x}, slice(0, 2), 2, torch.arange(2))
    >>> task.store(batch)
    >>> task.scores(batch)["overlap"]
    tensor([1., 1.])
    """

    better: Mapping[str, str] = {"overlap": "higher", "recalled": "higher", "stable_patterns": "higher"}

    def __init__(self, memory: Hopfield, inputs: str = "image"):
        super().__init__()
        self.memory, self.inputs = memory, inputs

    @property
    def model(self) -> nn.Module:
        return self.memory

    def players(self) -> dict[str, nn.Module]:
        return {}

    def turns(self, round: int) -> list[Turn]:
        return [Update(self.store, fresh=True)]

    def store(self, batch: Batch) -> None:
        """Store the patterns of a batch, each in the place of its number.

        Raises:
            UsageError: if the rule of storage cannot store them.
        """
        places = batch.numbers.to(batch[self.inputs].device)
        try:
            self.memory.store(batch[self.inputs], places)
        except ValueError as error:
            raise UsageError(str(error), settings=("patterns", "model.storage=hebbian")) from error

    def scores(self, batch: Batch) -> Terms:
        """Overlap and exact recall of each damaged pattern."""
        return recall_scores(self.memory, batch[self.inputs], batch["pattern"])

    def scores_of_part(self, part: Part) -> dict[str, float]:
        """The fraction of the stored patterns that are stable."""
        return {"stable_patterns": stable_fraction(self.memory)}

    def diagnose(self, scores: Mapping[str, float]) -> str | None:
        """A message if stored patterns are not stable."""
        count = len(self.memory.patterns)
        lost = round((1 - scores.get("stable_patterns", 1.0)) * count)
        if not lost:
            return None
        stored = self.memory.arguments
        remedies = ["use fewer patterns"]
        if stored["form"] == "classic" and stored["storage"] == "hebbian":
            remedies.append("model.storage=pseudo-inverse")
        remedies.append("model.form=modern" if stored["form"] == "classic" else "a larger model.beta")
        return (
            f"{lost} of {count} stored patterns are not stable, because they are too many or too similar; "
            f"{', '.join(remedies[:-1])} or {remedies[-1]}"
        )


def recall_scores(memory: Any, x: Float[Tensor, "n *shape"], patterns: Float[Tensor, "n *shape"]) -> Terms:
    """Scores of the recall of damaged patterns.

    Args:
        memory: a model with the verb ``recall``.
        x: the damaged patterns.
        patterns: the original of each, values −1 and 1.
    """
    states = memory.recall(x)
    return {"overlap": overlaps(states, patterns), "recalled": recalled(states, patterns).to(x.dtype)}


@torch.no_grad()
def stable_fraction(memory: Any) -> float:
    """The fraction of the stored patterns that are stable: their own recall ends at them.

    Args:
        memory: a model with the capability ``recall_trace``.
    """
    patterns = memory.patterns
    return float(recalled(memory.recall(patterns), patterns).double().mean()) if len(patterns) else 0.0
