"""Interpolation between latents."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def lerp(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], steps: int) -> Float[Tensor, "n steps d"]:
    """Linear interpolation between latents, both ends included.

    Args:
        a: the first latent of each row.
        b: the last latent of each row.
        steps: number of latents per row, at least 1.

    Raises:
        ValueError: if there are no steps.

    >>> lerp(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]]), 3)[0, 1]
    tensor([0.5000, 1.0000])
    """
    _check_steps(steps)
    t = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype)[:, None]
    return a[:, None].lerp(b[:, None], t)


def slerp(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], steps: int) -> Float[Tensor, "n steps d"]:
    r"""Spherical interpolation between latents, which preserves the typical norm of normal latents.

    .. math:: \frac{\sin((1 - t) \Omega)}{\sin \Omega} a + \frac{\sin(t \Omega)}{\sin \Omega} b

    with Ω the angle between a and b. White, "Sampling generative networks", 2016, section 2.1.

    Args:
        a: the first latent of each row.
        b: the last latent of each row.
        steps: number of latents per row, at least 1.

    Raises:
        ValueError: if there are no steps.

    >>> slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 3)[0, 1]
    tensor([0.7071, 0.7071])
    """
    _check_steps(steps)
    t = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype)[:, None]
    cosine = torch.cosine_similarity(a, b, dim=1).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.arccos()[:, None, None]
    return (((1 - t) * angle).sin() * a[:, None] + (t * angle).sin() * b[:, None]) / angle.sin()


def four_anchor_walk(anchors: Float[Tensor, "anchors d"], steps: int) -> Float[Tensor, "steps steps d"]:
    r"""A closed two-dimensional walk through four latents.

    .. math:: z = \cos \alpha \, (\cos \beta \, z_0 + \sin \beta \, z_1)
        + \sin \alpha \, (\cos \beta \, z_2 + \sin \beta \, z_3)

    with α (rows of the result) and β (columns) evenly spaced over a full turn from 0. If steps is a multiple of 4, the
    four latents and their negatives are among the results. Dinh et al., "Density estimation using Real NVP", 2017,
    section 4.2.

    Args:
        anchors: the four latents.
        steps: number of angles α, and of angles β, at least 1.

    Raises:
        ValueError: if there are no steps, or not four latents.

    >>> four_anchor_walk(torch.eye(4), 4)[0, 1].allclose(torch.eye(4)[1], atol=1e-6)
    True
    """
    _check_steps(steps)
    if len(anchors) != 4:
        raise ValueError(f"the walk needs 4 anchors, got {len(anchors)}")
    angle = torch.arange(steps, device=anchors.device, dtype=anchors.dtype) * (2 * math.pi / steps)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    return torch.einsum("ip,jq,pqd->ijd", circle, circle, anchors.unflatten(0, (2, 2)))


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
