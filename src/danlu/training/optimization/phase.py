"""The optimizer settings of a player that is trained in a part of the rounds, one phase of a training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from danlu.training.optimization.settings import OptimizerSettings


class PhaseSettings(OptimizerSettings):
    """Optimizer settings whose schedule and warm-up are those of the rounds of one phase.

    >>> phase = PhaseSettings.of(OptimizerSettings(schedule="cosine"), start=10, stop=21)
    >>> [round(phase.factor(number, 100), 3) for number in (10, 15, 20)]
    [1.0, 0.5, 0.0]
    """

    start: Annotated[int, Field(ge=0)] = 0
    """first round of the phase"""
    stop: Annotated[int, Field(ge=1)] | None = None
    """round after the last round of the phase; the end of the training if not given"""

    @classmethod
    def of(cls, settings: OptimizerSettings, start: int = 0, stop: int | None = None) -> PhaseSettings:
        """Settings of a whole training, for one phase of it.

        Args:
            settings: the settings.
            start: first round of the phase.
            stop: round after the last round of the phase; the end of the training if not given.
        """
        values = {name: getattr(settings, name) for name in OptimizerSettings.model_fields}
        return cls(**values, start=start, stop=stop)

    def factor(self, round: int, rounds: int) -> float:
        """The learning rate of a round divided by the peak learning rate; before and after the phase, of its ends."""
        stop = rounds if self.stop is None else self.stop
        return super().factor(min(max(round, self.start), stop - 1) - self.start, stop - self.start)
