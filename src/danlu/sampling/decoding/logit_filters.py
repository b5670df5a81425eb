"""Filters of logits before sampling. A filter makes tokens less probable or excludes them.

Logits are rounded numbers: the probabilities 0.5 and 0.3 from the logarithms in float32 do not sum to 0.8. Filters that
compare probabilities therefore treat a difference of at most 16 units of rounding as equality: 2e-6 for float32 and
shorter types, 4e-15 for float64.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_SLACK = 16  # units of rounding; rounding a logit x changes its probability by up to |x| / 2 of them


def repetition_penalty(logits: Float[Tensor, "n v"], seen: Bool[Tensor, "n v"], penalty: float) -> Float[Tensor, "n v"]:
    r"""Make tokens that have occurred before less probable.

    .. math:: x_i / \theta \text{ if } x_i > 0, \quad x_i \, \theta \text{ else, for every } i \text{ seen}

    Keskar et al., "CTRL: A Conditional Transformer Language Model for Controllable Generation", 2019, section 4.1. The
    paper divides every logit, which makes tokens with negative logits more probable; later implementations multiply
    these, as here. The result depends on the offset of the logits.

    Args:
        logits: unnormalized log-probabilities.
        seen: which tokens have occurred before.
        penalty: θ; 1 for no penalty, 1.2 in the paper.

    >>> repetition_penalty(torch.tensor([[2.0, -2.0, 2.0]]), torch.tensor([[True, True, False]]), 2.0)
    tensor([[ 1., -4.,  2.]])
    """
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def top_k(logits: Float[Tensor, "n v"], k: int) -> Float[Tensor, "n v"]:
    """Keep the k most probable tokens, and tokens tied with the last of them.

    Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation", 2018.

    >>> top_k(torch.tensor([[1.0, 3.0, 2.0]]), 2)
    tensor([[-inf, 3., 2.]])
    """
    threshold = logits.topk(min(k, logits.shape[1]), dim=1).values[:, -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def top_p(logits: Float[Tensor, "n v"], p: float) -> Float[Tensor, "n v"]:
    r"""Keep the nucleus: the fewest most probable tokens whose total probability is at least p.

    .. math:: \sum_{i \in V^{(p)}} P(i) \ge p

    Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020, equation 2.

    >>> top_p(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.6).exp()
    tensor([[0.5000, 0.3000, 0.0000]])
    """
    if p >= 1:
        return logits  # the sum of rounded probabilities can reach 1 before the last token
    slack = min(_slack(logits), (1 - p) / 2)
    sorted_logits, order = logits.sort(dim=1, descending=True, stable=True)
    weights = (sorted_logits.to(_exact(logits)) - sorted_logits[:, :1]).exp()
    cumulative = weights.cumsum(1, dtype=_longest(logits))  # in float32 the sum of a large vocabulary is inexact
    excluded = cumulative - weights >= (p - slack) * cumulative[:, -1:]
    excluded = excluded.scatter(1, order, excluded)
    excluded.scatter_(1, order[:, :1], False)  # keep the most probable token even if p is 0
    return logits.masked_fill(excluded, -torch.inf)


def min_p(logits: Float[Tensor, "n v"], p: float) -> Float[Tensor, "n v"]:
    r"""Keep the tokens with at least p times the probability of the most probable token.

    .. math:: P(i) \ge p \max_j P(j)

    Nguyen et al., "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs", 2024, section 3.

    >>> min_p(torch.tensor([[0.6, 0.3, 0.1]]).log(), 0.4).exp()
    tensor([[0.6000, 0.3000, 0.0000]])
    """
    threshold = logits.amax(1, keepdim=True).to(_longest(logits))
    threshold = threshold + (math.log(p * (1 - _slack(logits))) if p > 0 else -torch.inf)
    return logits.masked_fill(logits < threshold, -torch.inf)


def _exact(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _longest(logits: Tensor) -> torch.dtype:
    return torch.float32 if logits.device.type == "mps" else torch.float64  # mps has no float64


def _slack(logits: Tensor) -> float:
    return _SLACK * torch.finfo(_exact(logits)).eps
