"""Latents selected by the numbers of samples, and their decoding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.inference.apply import AT_ONCE, at_least, drawing
from danlu.app.inference.class_labels import labels_of
from danlu.errors import UsageError
from danlu.rng.keys import generator
from danlu.verbs import has, picks_latents, verbs_of

SHEET = 64
"""default number of samples"""


def need_codes(model: Any) -> Any:
    """Check that a model generates samples from latents, and return it.

    Raises:
        UsageError: if it does not; the message lists the verbs of the model.
    """
    if not picks_latents(model):
        can_do = ", ".join(verbs_of(model)) or "nothing"
        raise UsageError(f"{type(model).__name__} draws nothing from codes; it can {can_do}")
    return model


def picked(model: Any, numbers: Iterable[int], n: int, seed: int) -> dict[int, Float[Tensor, "..."]]:
    """The latents of samples that ``sample`` generates, by their numbers.

    They are drawn as in ``sample``: with the same random numbers and the same batches.

    Args:
        model: a model with latents.
        numbers: numbers of the samples, counted from 0.
        n: how many samples ``sample`` generated.
        seed: random seed of the samples.

    Raises:
        UsageError: if a number is out of range.
    """
    at_least(1, n=n)
    if model.info.kind == "table" and n > AT_ONCE:  # values are drawn between the batches of latents
        raise UsageError(f"n={n}: rows can be picked from a table of at most {AT_ONCE}")
    if wrong := sorted({number for number in numbers if not 0 <= number < n}):
        raise UsageError(f"there is no number {wrong[0]} among {n}, from 0 to {n - 1}; say with n how many you drew")
    device = next(model.parameters()).device
    given = {"generator": generator("sample", seed, device=device)} if has(model, "generator") else {}
    with drawing(device, "sample", seed):
        z = torch.cat([model.prior(min(AT_ONCE, n - start), **given) for start in range(0, n, AT_ONCE)])
    return {number: z[number] for number in numbers}


def one_class(model: Any, label: str | int | None) -> str | int | None:
    """Check the class for decoding latents, and return it.

    Raises:
        UsageError: if a class-conditional model gets no class, or "all".
    """
    every = label is None or (str(label) == "all" and "all" not in model.info.label_names)
    if has(model, "class_conditional") and every:
        raise UsageError(
            f"{type(model).__name__} draws by class: give one as label, for `danlu sample RUN --label NAME` has a "
            f"picture of each code in that class"
        )
    labels_of(model, label, 1)
    return label


def decoded(model: Any, z: Float[Tensor, "n ..."], label: str | int | None = None) -> Float[Tensor, "n *shape"]:
    """Decode latents, on the CPU; for a class-conditional model, with one class."""
    with torch.no_grad():
        labels = labels_of(model, label, len(z))
        told = [()] * len(z) if labels is None else [(some.to(z.device),) for some in labels.split(AT_ONCE)]
        parts = zip(z.split(AT_ONCE), told, strict=False)
        return torch.cat([model.decode(some, *more).cpu() for some, more in parts])
