"""Counter-based random numbers: a pure function of a seed and counters.

The numbers of a sequential generator depend on the position of an example in the batch. Here each counter has its own
number, independent of the other counters. All counters of a tensor are hashed at once, on any device.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15
_ATTEMPTS = 16


def bits(seed: int | Int[Tensor, "..."], counters: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    r"""64 random bits for each counter: the outputs of SplitMix64, number ``counter`` of the sequence from ``seed``.

    .. math:: z_0 = s + (i + 1)\gamma, \quad z_1 = (z_0 \oplus z_0 \gg 30)\,a, \quad z_2 = (z_1 \oplus z_1 \gg 27)\,b,
        \quad z_2 \oplus z_2 \gg 31 \pmod{2^{64}}

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17.

    Args:
        seed: s, modulo 2**64; a tensor of seeds is broadcast with the counters.
        counters: i, from 0.

    Returns:
        The bits as signed integers.

    >>> bits(1234567, torch.arange(2))
    tensor([6457827717110365317, 3203168211198807973])
    """
    start = seed + _signed(_GAMMA) if isinstance(seed, Tensor) else _signed(seed + _GAMMA)
    z = counters.long() * _signed(_GAMMA) + start
    z = z.bitwise_xor_(_shifted(z, 30)).mul_(_signed(0xBF58476D1CE4E5B9))
    z = z.bitwise_xor_(_shifted(z, 27)).mul_(_signed(0x94D049BB133111EB))
    return z.bitwise_xor_(_shifted(z, 31))


def uniforms(
    seed: int | Int[Tensor, "..."], counters: Int[Tensor, "..."], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "..."]:
    """A number from [0, 1) for each counter, with 24 random bits in float32 and 53 in float64.

    Args:
        seed: seed of the sequence; a tensor of seeds is broadcast with the counters.
        counters: positions in the sequence, from 0.
        dtype: float32 or float64.

    >>> uniforms(7, torch.tensor([0, 1, 2]))[1:].equal(uniforms(7, torch.tensor([1, 2])))
    True
    """
    digits = 53 if dtype == torch.float64 else 24
    return _shifted(bits(seed, counters), 64 - digits).to(dtype).mul_(2.0**-digits)


def normals(
    seed: int | Int[Tensor, "..."], counters: Int[Tensor, "..."], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "... 2"]:
    r"""Two independent standard normal numbers for each counter.

    .. math:: \sqrt{-2 \ln u} \, (\cos 2\pi v, \; \sin 2\pi v)

    with u from (0, 1] and v from [0, 1), 32 bits each. The absolute value is at most 6.7.
    Box and Muller, "A note on the generation of random normal deviates", 1958.

    Args:
        seed: seed of the sequence; a tensor of seeds is broadcast with the counters.
        counters: positions in the sequence, from 0.
        dtype: float32 or float64.

    >>> normals(7, torch.arange(3)).shape
    torch.Size([3, 2])
    """
    z = bits(seed, counters)
    radius = _shifted(z, 32).to(dtype).add_(1).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    angle = (z & 0xFFFFFFFF).to(dtype).mul_(2.0**-32 * 2 * math.pi)
    return torch.stack([angle.cos().mul_(radius), angle.sin_().mul_(radius)], dim=-1)


def betas(
    alpha: float, seed: int, counters: Int[Tensor, "n"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "n"]:
    r"""A number from Beta(α, α) for each counter: x / (x + y), where x and y are from Gamma(α).

    A Gamma(α) variable is a Gamma(α + 1) variable times :math:`u^{1/\alpha}`. This is computed in logarithms, because
    it underflows for small α. Gamma(α + 1) is drawn by rejection: Marsaglia and Tsang, "A simple method for generating
    gamma variables", 2000. Each variable has 16 attempts, each accepted with probability 0.95 or more. The
    probability that all are rejected is below 1e-20.

    Args:
        alpha: α, greater than 0.
        seed: seed of the sequence.
        counters: positions in the sequence, from 0.
        dtype: float32 or float64.

    Raises:
        ValueError: if α is not greater than 0.

    >>> betas(0.2, seed=0, counters=torch.arange(3)).shape
    torch.Size([3])
    """
    if not alpha > 0:
        raise ValueError(f"alpha={alpha} must be greater than 0")
    seeds = bits(seed, counters)[:, None]
    attempts = torch.arange(_ATTEMPTS, device=counters.device)
    x = normals(seeds, attempts, dtype)
    u = 1 - uniforms(seeds, torch.arange(_ATTEMPTS, 3 * _ATTEMPTS + 2, device=counters.device), dtype)  # never 0
    log_u = u.log_()
    log_boost, log_accept = log_u[:, :2] / alpha, log_u[:, 2:].view_as(x)
    d = alpha + 1 - 1 / 3
    v = (1 + x / math.sqrt(9 * d)) ** 3
    log_v = v.clamp(min=torch.finfo(dtype).tiny).log()
    accepted = (v > 0) & (log_accept < x.square() / 2 + d * (1 - v + log_v))
    first = accepted.to(torch.uint8).argmax(dim=1, keepdim=True)
    log_gamma = log_v.gather(1, first).squeeze(1) + log_boost  # up to ln d, which cancels in the quotient
    return (log_gamma[:, 0] - log_gamma[:, 1]).sigmoid()


def _shifted(z: Tensor, by: int) -> Tensor:
    """Logical right shift; torch's shift is arithmetic."""
    return (z >> by).bitwise_and_((1 << 64 - by) - 1)


def _signed(number: int) -> int:
    """The signed integer that has the same lowest 64 bits."""
    return ((number + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)
