"""Latents selected by the numbers of samples, and their decoding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.app.files.outputs import writer_of
from danlu.app.inference.apply import BATCH, check_at_least
from danlu.app.inference.class_labels import labels_of
from danlu.errors import UsageError
from danlu.rng.keys import generator, seeded
from danlu.verbs import has, samples_latents, verbs_of

DEFAULT_SAMPLES = 64
"""default number of samples"""


def need_latents(model: Any) -> Any:
    """Check that a model generates samples from latents, and return it.

    Raises:
        UsageError: if it does not; the message lists the verbs of the model.
    """
    if not samples_latents(model):
        verbs = ", ".join(verbs_of(model)) or "none"
        raise UsageError(f"{type(model).__name__} does not generate samples from latents; its verbs: {verbs}")
    return model


def select_latents(model: Any, numbers: Iterable[int], n: int, seed: int) -> dict[int, Float[Tensor, "..."]]:
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
    check_at_least(1, n=n)
    if writer_of(model.info).sampled_values and n > BATCH:  # values are drawn between the batches of latents
        raise UsageError(f"n must be at most {BATCH} for models of rows, got {n}", settings=("n",))
    if invalid := sorted({number for number in numbers if not 0 <= number < n}):
        raise UsageError(
            f"there is no sample {invalid[0]}: samples are numbered from 0 to {n - 1}; if `danlu sample` generated "
            f"more, give their number as n",
            settings=(f"n={invalid[0] + 1}",) if invalid[0] >= 0 else (),
        )
    device = next(model.parameters()).device
    options = {"generator": generator("sample", seed, device=device)} if has(model, "generator") else {}
    with torch.no_grad(), seeded("sample", seed, device=device):
        z = torch.cat([model.prior(min(BATCH, n - start), **options) for start in range(0, n, BATCH)])
    return {number: z[number] for number in numbers}


def check_class(model: Any, label: str | int | None) -> str | int | None:
    """Check the class for decoding latents, and return it.

    Raises:
        UsageError: if a class-conditional model gets no class, or "all".
    """
    every = label is None or (str(label) == "all" and "all" not in model.info.label_names)
    if has(model, "class_conditional") and every:
        raise UsageError(
            f"{type(model).__name__} is class-conditional: give the class of the samples as label",
            settings=("label",),
        )
    labels_of(model, label, 1)
    return label


def decode_latents(model: Any, z: Float[Tensor, "n ..."], label: str | int | None = None) -> Float[Tensor, "n *shape"]:
    """Decode latents, on the CPU; for a class-conditional model, with one class."""
    with torch.no_grad():
        labels = labels_of(model, label, len(z))
        conditions = [()] * len(z) if labels is None else [(batch.to(z.device),) for batch in labels.split(BATCH)]
        batches = zip(z.split(BATCH), conditions, strict=False)
        return torch.cat([model.decode(batch, *condition).cpu() for batch, condition in batches])
