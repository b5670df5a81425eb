"""A player: a module with its own optimizer, learning-rate schedule, gradient clip and weight average."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.errors import UsageError
from danlu.losses.per_example import l1_norm, per_example, squared_l2_norm
from danlu.nn.state_dict import distribute_like, is_sharded, local_shard
from danlu.training.compilation import compiler_not_loaded
from danlu.training.optimization.clipping import clip_gradients
from danlu.training.optimization.ema import Average
from danlu.training.optimization.optimizers import optimizers, weights
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.runtime import Runtime


class Player:
    """A module that is trained by its own optimizer.

    Args:
        name: its name in the task.
        module: the module to train; parameters that do not require a gradient now are never trained.
        settings: the settings of its optimizer.
        rounds: total number of rounds, for the schedule.

    Raises:
        ValueError: if no parameter of the module requires a gradient.

    Attributes:
        parameters: the trained parameters.
        penalized: whether there are L1 or L2 penalties.
        maskable: whether a flag on the device can skip a step.
        split: whether the weights are sharded over the processes; their gradients are then already summed.

    >>> player = Player("net", nn.Linear(2, 1), OptimizerSettings(lr=0.1, schedule="cosine"), rounds=11)
    >>> player.lr(0), round(player.lr(5), 6)
    (0.1, 0.05)
    """

    def __init__(self, name: str, module: nn.Module, settings: OptimizerSettings, rounds: int):
        self.name, self.module, self.settings, self.rounds = name, module, settings, rounds
        names: dict[Tensor, str] = {p: path for path, p in module.named_parameters() if p.requires_grad}
        if not names:
            raise ValueError(f"player {name!r} has no parameter that requires a gradient, so it cannot be optimized")
        self.parameters = list(names)
        self._name_of = names
        self._parameter_of = {path: p for p, path in names.items()}
        with compiler_not_loaded():
            self.optimizers = optimizers(module, self.parameters, settings)
        # torch wraps step() in hooks and a profiler range, which cost 13 µs, and in a gradient switch that imports
        # the compiler; there are no hooks here, and step() below switches gradients off
        self._steps = [inspect.unwrap(type(optimizer).step) for optimizer in self.optimizers]
        self.split = any(is_sharded(p) for p in self.parameters)
        self.maskable = all(_can_skip_steps(optimizer) for optimizer in self.optimizers) and not self.split
        self.average = None if settings.ema is None else Average(module, settings.ema)
        everything = settings.decay_all
        self.penalized = bool(settings.l1 or settings.l2)
        self._penalized = self.parameters if everything else [w for w in weights(module) if w.requires_grad]

    def lr(self, round: int) -> float:
        """The learning rate of a round."""
        return self.settings.lr * self.settings.factor(round, self.rounds)

    def penalties(self, n: int) -> dict[str, Float[Tensor, "n"]]:
        """The L1 and L2 penalties in the settings, as one value for each of n examples."""
        terms = {}
        if self.settings.l1:
            terms["l1"] = per_example(self.settings.l1 * l1_norm(self._penalized), n)
        if self.settings.l2:
            terms["l2"] = per_example(self.settings.l2 * squared_l2_norm(self._penalized), n)
        return terms

    def clear(self) -> None:
        """Set all gradients to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def gradients(self) -> list[Tensor]:
        """The existing gradients, in the order of the parameters; for sharded parameters, the part of this process."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        return [local_shard(gradient) for gradient in gradients] if self.split else gradients

    @contextmanager
    def all_gradients(self) -> Iterator[list[Tensor]]:
        """The gradients of all parameters and a flag for each, to sum over the processes.

        Afterwards, a parameter that no process used has no gradient. A parameter that only other processes used has
        their gradient.
        """
        unused = [p for p in self.parameters if p.grad is None]
        flags = self.parameters[0].new_tensor([float(p.grad is not None) for p in self.parameters])
        for parameter in unused:
            parameter.grad = torch.zeros_like(parameter)
        yield [*self.gradients(), flags]
        if unused:
            used = dict(zip(self.parameters, flags.tolist(), strict=True))
            for parameter in unused:
                parameter.grad = parameter.grad if used[parameter] else None

    def clip(self, gradients: list[Tensor], runtime: Runtime) -> tuple[Float[Tensor, ""], Float[Tensor, "k"]]:
        """Clip the gradients in place; return the norms of the whole gradient and of each part before clipping."""
        return clip_gradients(gradients, self.settings.grad_clip, runtime.sum if self.split else None)

    @torch.no_grad()
    def step(self, lr: float | Tensor, skip: Float[Tensor, ""] | None = None) -> None:
        """Take a step with the existing gradients, and update the weight average.

        Args:
            lr: the learning rate.
            skip: a flag on the device; if it is 1, the step is skipped. Needs ``maskable``.
        """
        for optimizer, step in zip(self.optimizers, self._steps, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr
            if skip is not None:
                optimizer.found_inf, optimizer.grad_scale = skip, None  # type: ignore[attr-defined]
            step(optimizer)
        if self.average is not None:
            self.average.update()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """A context in which the module has its averaged weights, if there are any."""
        with self.average.in_place() if self.average else nullcontext():
            yield

    def names_with_gradient(self) -> list[str]:
        """The names of the parameters with a gradient, in the order of ``gradients``."""
        return [name for parameter, name in self._name_of.items() if parameter.grad is not None]

    def state(self) -> dict[str, Tensor]:
        """The state of the optimizers and of the average, as tensors by name."""
        state = {}
        for optimizer in self.optimizers:
            for parameter, entries in optimizer.state.items():
                for kind, value in entries.items():
                    if isinstance(value, Tensor):
                        state[f"{type(optimizer).__name__}/{self._name_of[parameter]}/{kind}"] = value
        if self.average is not None:
            state["average.steps"] = torch.tensor(self.average.steps)
            for name, value in self.average.parameters.items():
                state[f"average/{name}"] = value
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore a result of ``state``.

        Raises:
            UsageError: if the state belongs to other optimizers.
        """
        names = {type(optimizer).__name__ for optimizer in self.optimizers} | {"average", "average.steps"}
        if unknown := {name.partition("/")[0] for name in state} - names:
            raise UsageError(
                f"the checkpoint has a state of {', '.join(sorted(unknown))} for player {self.name!r}; "
                f"expected {', '.join(sorted(names))}"
            )
        with compiler_not_loaded():
            for optimizer in self.optimizers:
                self._load_optimizer(optimizer, state)
        if self.average is not None:
            if "average.steps" not in state:
                raise UsageError(f"the checkpoint has no averaged weights of player {self.name!r}; leave ema out")
            self.average.steps = int(state["average.steps"])
            for name, value in self.average.parameters.items():
                value.copy_(distribute_like(state[f"average/{name}"], value))

    def _load_optimizer(self, optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
        entries: dict[str, dict[str, Tensor]] = {}
        order = [self._name_of[p] for group in optimizer.param_groups for p in group["params"]]
        for path in state:
            owner, _, rest = path.partition("/")
            if owner == type(optimizer).__name__:
                name, _, kind = rest.rpartition("/")
                if name not in order:
                    raise UsageError(
                        f"the checkpoint has a state of {owner} for {name!r} of player {self.name!r}, which this "
                        f"optimizer does not train"
                    )
                entries.setdefault(name, {})[kind] = self._like_parameter(name, state[path])
        state_dict: dict[str, Any] = {
            "state": {number: entries[name] for number, name in enumerate(order) if name in entries},
            "param_groups": optimizer.state_dict()["param_groups"],
        }
        optimizer.load_state_dict(state_dict)

    def _like_parameter(self, name: str, value: Tensor) -> Tensor:
        """Optimizer state of a parameter, with the sharding and the memory layout of the parameter.

        The fused optimizers assume that both have the same memory layout, and do not check it.
        """
        parameter = self._parameter_of[name]
        if value.shape != parameter.shape:
            return value.clone()
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(
            distribute_like(value, parameter)
        )


def _can_skip_steps(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a flag on the device can make the optimizer skip a step."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False) and optimizer.defaults.get("fused"))
