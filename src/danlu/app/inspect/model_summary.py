"""The layers of a model, with the shapes of their outputs and their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from danlu.training.step_memory import StepMemory
from danlu.verbs import can, has


@dataclass(frozen=True)
class Layer:
    """One leaf of a model: its path, kind, shape of its output for one example, number of parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """The layers of a model.

    Attributes:
        model: its class.
        layers: in the order in which they run.
        parameters: number of parameters.
        output_bytes: bytes of the outputs of all layers for one example, or one token: a measure of the work of a step.
        unit: shapes and bytes are per example, or per token for a model that completes texts.
        receptive_field: side in pixels of the receptive field of the last convolution, if it has one.
        memory: memory of a training step, if the summary is of a recipe.
    """

    model: str
    layers: list[Layer]
    parameters: int
    output_bytes: int
    unit: Literal["example", "token"] = "example"
    receptive_field: int | None = None
    memory: StepMemory | None = None


def summarize(model: nn.Module, shape: tuple[int, ...]) -> Summary:
    """Run one example of zeros, or of the lower one of two values, through a model; record the output of each layer.

    Args:
        model: takes (1, *shape).
        shape: of one example.

    >>> summarize(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), (4,)).layers[0]
    Layer(name='0', kind='Linear', shape=(8,), parameters=40)
    """
    layers: list[Layer] = []
    numbers = 0

    def note(module: nn.Module, name: str, output: object) -> None:
        nonlocal numbers
        output = output[0] if isinstance(output, tuple) else output  # the output, without the state
        if isinstance(output, Tensor) and not isinstance(module, nn.Sequential):  # an empty Sequential is a leaf
            numbers += output.numel()
            count = sum(p.numel() for p in module.parameters())
            layers.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), count))

    training = model.training
    parameter = next(model.parameters())
    try:
        with torch.no_grad():
            model.eval()
            with _observed(model, note):
                value = cast(Any, model).binary_values[0] if has(model, "binary_values") else 0.0
                _run(model, torch.full((1, *shape), value, dtype=parameter.dtype, device=parameter.device))
            layers += _without_module(model)
    finally:
        model.train(training)
    count = sum(p.numel() for p in model.parameters())
    unit = "token" if has(model, "token_log_probs") else "example"
    field: Any = model.receptive_field if has(model, "receptive_field") else None
    return Summary(type(model).__name__, layers, count, parameter.element_size() * numbers, unit, field)


def _without_module(model: Any) -> list[Layer]:
    """The softmax of a model of texts, if its weights belong to the model and not to a module of it."""
    own = sum(p.numel() for p in model.parameters(recurse=False))
    if not own or not has(model, "token_stream"):
        return []
    logits, _ = model.step(torch.zeros(1, dtype=torch.long, device=next(model.parameters()).device))
    return [Layer("softmax", "Softmax", (1, logits.shape[1]), own)]


@contextmanager
def _observed(model: nn.Module, note: Callable[[nn.Module, str, object], None]) -> Iterator[None]:
    """A context in which a function is called with each leaf module that runs, its name and its output."""
    leaves = [(name, module) for name, module in model.named_modules() if not any(True for _ in module.children())]
    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: note(module, name, output))
        for name, module in leaves
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _run(model: Any, x: Tensor) -> None:
    """Run all layers of a model once: on one example, one latent, or one token."""
    if has(model, "token_log_probs"):
        model.log_probs(*torch.zeros(2, 1, 1, dtype=torch.long, device=x.device))
        return
    if can(model, "reconstruct"):
        model.reconstruct(x)
    elif can(model, "prior"):
        model.decode(torch.zeros_like(model.prior(1)))
    elif can(model, "log_prob") and has(model, "class_conditional"):
        model.log_prob(x, labels=torch.zeros(len(x), dtype=torch.long, device=x.device))
    else:
        model(x)


def layer_lines(summary: Summary) -> list[str]:
    """One line for each layer: path, kind, shape, parameters."""
    cells = [(layer.name, layer.kind, "×".join(map(str, layer.shape)), layer.parameters) for layer in summary.layers]
    widths = [max((len(str(row[column])) for row in cells), default=0) for column in range(3)]
    return [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:>{widths[2]}}" + (f"  {count:,}" if count else "")
        for name, kind, shape, count in cells
    ]
