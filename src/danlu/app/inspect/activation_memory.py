"""How much memory a token of a text takes while a language model learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from danlu.models.recurrent.language import LanguageModel
from danlu.nn.recurrent.layer import Recurrent
from danlu.nn.recurrent.scan import Cell

TOKENS = 8, 24
"""with which it is counted"""
TORCH, OURS = 4 / 3, 2
"""times what a layer keeps that there is at most while its gradients are made, measured: torch's kernels let go of it
step by step, a layer of ours when it is through"""
FEATURES, LOGITS = 4, 4
"""of what the softmax sees, and of what an adaptive one makes of it: itself, a copy, and the gradients of both"""


def bytes_of_a_token(model: LanguageModel) -> int:
    """Bytes that a token takes from when it is read until its gradients are made, without its logits, about.

    It is counted what torch keeps for the backward pass: of recurrent layers that is much more than they put out.

    >>> small, large = (bytes_of_a_token(LanguageModel(vocabulary=9, width=width)) for width in (32, 128))
    >>> 3 < large / small < 5
    True
    """
    few, many = (_bytes_of(model, count) for count in TOKENS)
    return round((many - few) / (TOKENS[1] - TOKENS[0]))  # without what is kept once


def _bytes_of(model: LanguageModel, count: int) -> float:
    device = next(model.parameters()).device
    tokens = torch.zeros(1, count, dtype=torch.long, device=device)
    ours = isinstance(model.layers, Recurrent) and isinstance(model.layers.cells.kernel, Cell)
    with _as_in_training(model, device):
        with _counted(model) as kept:
            features, _ = model(tokens)
        with _counted(model) as by_loss:
            if model.adaptive is not None:  # which keeps the logits of all tokens
                model.cross_entropy(features.flatten(0, 1), tokens.flatten())
    return (OURS if ours else TORCH) * _size(kept) + LOGITS * _size(by_loss) + FEATURES * _size([features])


@contextmanager
def _as_in_training(model: LanguageModel, device: torch.device) -> Iterator[None]:
    """Gradients and dropout are on; mode and randomness are left as they were."""
    training = model.training
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        model.train()
        try:
            yield
        finally:
            model.train(training)


@contextmanager
def _counted(model: LanguageModel) -> Iterator[list[Tensor]]:
    """What is kept meanwhile for the backward pass, but for parameters."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in own:
            kept.append(x)  # held, so that no place in memory is used twice
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        yield kept


def _size(tensors: list[Tensor]) -> int:
    """Bytes, of tensors that share them once."""
    return sum({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}.values())
