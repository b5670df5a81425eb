"""What a model is made of, and about how much memory its training takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.app.inspect.activation_memory import bytes_of_a_token
from danlu.losses.next_token import LOGITS_IN_MEMORY
from danlu.models.recurrent.language import LanguageModel
from danlu.training.optimization import OptimizerName
from danlu.verbs import can

_STATES: dict[OptimizerName, int] = {
    "sgd": 0,
    "momentum": 1,
    "nesterov": 1,
    "rmsprop": 1,
    "adam": 2,
    "adamw": 2,
    "muon": 1,
}


@dataclass(frozen=True)
class Layer:
    """One leaf of a model: its path, kind, shape of its output for one example, number of parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """A model in numbers.

    Attributes:
        model: its class.
        layers: in the order in which they run.
        parameters: how many there are.
        activations: bytes that one example leaves behind for the backward pass, about; of text one token.
        number: bytes of one number.
        logits: of text, how many numbers the softmax has for a token; not all tokens have them at once.
        receptive_field: side of the square of pixels that a unit of the last convolution sees, if it has one.
    """

    model: str
    layers: list[Layer]
    parameters: int
    activations: int
    number: int = 4
    logits: int = 0
    receptive_field: int | None = None

    def memory(self, batch_size: int, optimizer: OptimizerName, average: bool = False) -> int:
        """Bytes that training takes, about: weights, gradients, the optimizer's state, an average, activations.

        Args:
            batch_size: examples of a batch; of text its tokens.
            optimizer: which one.
            average: whether weights are averaged.
        """
        copies = 2 + _STATES[optimizer] + average
        numbers = self.parameters * copies + min(self.logits * batch_size, LOGITS_IN_MEMORY)
        return self.number * numbers + self.activations * batch_size


def summarize(model: nn.Module, shape: tuple[int, ...]) -> Summary:
    """Run one example of zeros through a model and note what each layer makes of it.

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
        output = output[0] if isinstance(output, tuple) else output  # what comes out, beside a state
        if isinstance(output, Tensor) and not isinstance(module, nn.Sequential):  # an empty one
            numbers += output.numel()
            count = sum(p.numel() for p in module.parameters())
            layers.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), count))

    leaves = [(name, module) for name, module in model.named_modules() if not any(True for _ in module.children())]
    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: note(module, name, output))
        for name, module in leaves
    ]
    training = model.training
    some = next(model.parameters())
    try:
        with torch.no_grad():
            model.eval()
            _run(model, torch.zeros(1, *shape, dtype=some.dtype, device=some.device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    count, size = sum(p.numel() for p in model.parameters()), some.element_size()
    kept, logits = size * numbers, 0
    if isinstance(model, LanguageModel):
        kept, logits = bytes_of_a_token(model), model.vocabulary
        if own := sum(p.numel() for p in model.parameters(recurse=False)):  # a full softmax is no module
            layers.append(Layer("softmax", "Softmax", (1, logits), own))
    field = getattr(model, "receptive_field", None)
    return Summary(type(model).__name__, layers, count, kept, size, logits, field)


def _run(model: Any, x: Tensor) -> None:
    """Have a model's layers run once, on one example or on as many as it makes; of a text on one token."""
    if can(model, "complete"):
        model.log_probs(*torch.zeros(2, 1, 1, dtype=torch.long, device=x.device))
        return
    if can(model, "reconstruct"):
        model.reconstruct(x)
    elif can(model, "prior"):
        model.decode(torch.zeros_like(model.prior(1)))
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
