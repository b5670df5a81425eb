"""Optimizer settings of a player: optimizer, schedule, gradient clipping, penalties and weight average."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from danlu.data.base.effects import Needs
from danlu.data.base.page import Fraction, Page
from danlu.training.optimization import schedules
from danlu.training.optimization.schedules import Schedule

OptimizerName = Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "muon"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_OPTIMIZERS_WITH = {
    "momentum": ("momentum", "nesterov", "rmsprop", "muon"),
    "alpha": ("rmsprop",),
    "betas": ("adam", "adamw", "muon"),
    "eps": ("rmsprop", "adam", "adamw", "muon"),
}
_SCHEDULES_WITH = {"milestones": ("step",), "gamma": ("step",), "floor": ("linear", "cosine")}


class OptimizerSettings(Page):
    """How a player is optimized. None means the default of the optimizer or the schedule.

    >>> OptimizerSettings(optimizer="momentum", lr=0.1, schedule="cosine").factor(50, 101)
    0.5...

    Raises:
        ValueError: if a setting is given to an optimizer or a schedule that has no such setting.
    """

    help_section: ClassVar[str] = "optimization"
    needs: ClassVar[tuple[Needs, ...]] = (Needs("decay_all", ("weight_decay", "l1", "l2")),)

    optimizer: OptimizerName = "adamw"
    """optimizer; muon updates hidden matrices with Muon and the other parameters with AdamW"""
    lr: Positive = 1e-3
    """peak learning rate"""
    momentum: Fraction | None = None
    """for momentum and nesterov (default 0.9), rmsprop (default 0) and muon (default 0.95)"""
    betas: tuple[Fraction, Fraction] | None = None
    """for adam, adamw and the adamw part of muon (default 0.9 0.999)"""
    alpha: Fraction | None = None
    """for rmsprop: decay of the mean square (default 0.99)"""
    eps: Positive | None = None
    """for rmsprop, adam, adamw and muon's adamw part (default 1e-8)"""
    eps_inside: bool = False
    """adam, adamw: divide by sqrt(v + eps) instead of sqrt(v) + eps"""
    weight_decay: NonNegative = 0.0
    """weight decay; decoupled in adamw and muon, otherwise added to the gradient"""
    l1: NonNegative = 0.0
    """weight of the penalty sum |w|"""
    l2: NonNegative = 0.0
    """weight of the penalty sum w²/2"""
    decay_all: bool = False
    """also apply weight decay, l1 and l2 to normalization layers and biases"""
    schedule: Schedule = "constant"
    """learning-rate schedule"""
    warmup: Annotated[int, Field(ge=0)] = 0
    """rounds of linear warm-up"""
    milestones: tuple[Fraction, ...] | None = None
    """for schedule step: points of decrease, as fractions of the training (default 0.5 0.75); an empty list for none"""
    gamma: Positive | None = None
    """for schedule step: factor at each milestone (default 0.1)"""
    floor: Fraction | None = None
    """for schedules linear and cosine: rate of the last round as a fraction of the peak (default 0)"""
    grad_clip: Positive | None = None
    """clip the gradient norm to this value"""
    ema: Fraction | None = None
    """decay of an exponential moving average of the weights, for example 0.999; the average is evaluated and saved"""
    shard: bool = False
    """distribute weights and optimizer state over the processes, for models too large for one device"""

    @model_validator(mode="after")
    def _check_supported(self) -> OptimizerSettings:
        for name, supported in _OPTIMIZERS_WITH.items():
            if getattr(self, name) is not None and self.optimizer not in supported:
                raise ValueError(f"optimizer {self.optimizer!r} has no {name}; supported by: {', '.join(supported)}")
        for name, supported in _SCHEDULES_WITH.items():
            if getattr(self, name) is not None and self.schedule not in supported:
                raise ValueError(f"schedule {self.schedule!r} has no {name}; supported by: {', '.join(supported)}")
        if self.gamma is not None and self.milestones == ():
            raise ValueError("gamma has no effect without milestones; set milestones, or leave gamma out")
        if self.optimizer == "nesterov" and self.momentum == 0:
            raise ValueError("optimizer 'nesterov' needs a momentum greater than 0; use sgd for no momentum")
        if self.shard and (self.optimizer == "muon" or self.l1 or self.l2):
            unsupported = "optimizer muon" if self.optimizer == "muon" else "l1" if self.l1 else "l2"
            raise ValueError(
                f"shard cannot be combined with {unsupported}, which needs unsharded weights; use "
                f"{'adamw' if unsupported == 'optimizer muon' else 'weight_decay'}, or set shard=False"
            )
        if self.eps_inside and self.optimizer not in ("adam", "adamw"):
            raise ValueError(f"eps_inside is for adam and adamw, not for {self.optimizer!r}")
        if self.schedule == "inverse_sqrt" and not self.warmup:
            raise ValueError("schedule 'inverse_sqrt' needs warmup, for example 4000")
        if self.schedule == "one_cycle" and self.warmup:
            raise ValueError("schedule 'one_cycle' has its own warm-up; leave warmup at 0")
        return self

    def factor(self, round: int, rounds: int) -> float:
        """The learning rate of a round divided by the peak learning rate."""
        floor = 0.0 if self.floor is None else self.floor
        match self.schedule:
            case "inverse_sqrt":
                return schedules.inverse_sqrt(round, self.warmup)
            case "one_cycle":
                return schedules.one_cycle(round, rounds)
            case "linear":
                decay = schedules.linear(round, rounds, self.warmup, floor)
            case "cosine":
                decay = schedules.cosine(round, rounds, self.warmup, floor)
            case "step":
                milestones = (0.5, 0.75) if self.milestones is None else self.milestones
                decay = schedules.step(round, rounds, milestones, 0.1 if self.gamma is None else self.gamma)
            case "constant":
                decay = 1.0
        return decay * schedules.warm_up(round, self.warmup)
