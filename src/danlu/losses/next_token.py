"""Losses for the next of many words: cross-entropy of a few rows at a time, and two that look at a few words alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from danlu.nn.linear import add_product_, product

LOGITS_IN_MEMORY = 1 << 22
"""logits that are in memory at a time: 16 MiB in float32; with fewer, the weights are read too often"""


def chunked_cross_entropy(
    features: Float[Tensor, "n d"],
    weight: Float[Tensor, "v d"],
    bias: Float[Tensor, "v"],
    targets: Int[Tensor, "n"],
    rows: int | None = None,
) -> Float[Tensor, "n"]:
    r"""Cross-entropy of the softmax over all words, whose n × v logits are never all in memory.

    .. math:: \ell_i = \log \sum_w e^{z_{iw}} - z_{i y_i}, \qquad z_i = W f_i + b

    A few rows of logits are made at a time, and become gradients at once, in place: where the upstream gradient is
    one number for all rows, as that of a mean is, ``backward`` only scales them; else it goes through the rows again.
    So there are at most ``rows`` × v logits, beside gradients as large as their parameters. Second derivatives take
    the plain way, with all logits.

    Args:
        features: what the last layer sees.
        weight: W, a row for each word.
        bias: b.
        targets: y, the number of the right word of each row.
        rows: rows at a time; so many that their logits are four millions if not given.

    >>> weight, bias = torch.zeros(10, 3), torch.zeros(10)
    >>> chunked_cross_entropy(torch.ones(2, 3), weight, bias, torch.tensor([3, 7]), rows=1)
    tensor([2.3026, 2.3026])
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):  # inside a function of one's own torch leaves types alone
        kind = torch.get_autocast_dtype(device)
        features, weight = features.to(kind), weight.to(kind)
    rows = rows or max(1, LOGITS_IN_MEMORY // len(weight))
    learning = torch.is_grad_enabled()  # a function of one's own runs without gradients and would not know
    return _Chunked.apply(features, weight, bias, targets, rows, learning)  # type: ignore[return-value]


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, rows: int, learning: bool
    ) -> Tensor:
        ctx.rows = rows
        wanted = learning and any(ctx.needs_input_grad[:3])
        losses, gradients = _losses_and_gradients(features, weight, bias, targets, rows, wanted)
        ctx.save_for_backward(features, weight, bias, targets, *gradients)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        features, weight, bias, targets, *found = ctx.saved_tensors
        (upstream,) = gradients
        if torch.is_grad_enabled():  # somebody means to derive once more
            return *_differentiable_gradients(features, weight, bias, targets, upstream), None, None, None
        if _is_constant(upstream):
            scale = upstream[0]
        else:
            _, found = _losses_and_gradients(features, weight, bias, targets, ctx.rows, True, upstream)
            scale = upstream.new_ones(())
        given = (features, weight, bias)
        return *((f * scale).to(x.dtype) for f, x in zip(found, given, strict=True)), None, None, None


def _is_constant(values: Tensor) -> bool:
    """Whether all are known to be alike; a GPU is not asked, for the answer would hold it up."""
    expanded = set(values.stride()) == {0}
    return len(values) > 0 and (expanded or (values.device.type == "cpu" and bool((values == values[:1]).all())))


def _differentiable_gradients(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, upstream: Tensor
) -> list[Tensor | None]:
    """Gradients that have derivatives of their own, by way of all logits."""
    given = [x for x in (features, weight, bias) if x.requires_grad]
    logits = F.linear(features, weight, bias.to(weight.dtype)).to(upstream.dtype)
    losses = F.cross_entropy(logits, targets, reduction="none")
    found = iter(torch.autograd.grad(losses, given, upstream, create_graph=True))
    return [next(found) if x.requires_grad else None for x in (features, weight, bias)]


def _losses_and_gradients(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    rows: int,
    wanted: bool,
    upstream: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Losses and, if wanted, gradients of their sum, each loss weighted by what comes from upstream."""
    exact = torch.promote_types(features.dtype, torch.float32)
    losses = torch.empty(len(features), dtype=exact, device=features.device)
    by_features = torch.empty_like(features, dtype=exact) if wanted else features
    by_weight = torch.zeros_like(weight, dtype=exact) if wanted else weight
    by_bias = torch.zeros_like(bias, dtype=exact)
    for start in range(0, len(features), rows):
        some = slice(start, start + rows)
        x, y = features[some], targets[some, None]
        logits = product(x, weight.t(), bias.to(x.dtype)).to(exact)
        losses[some] = _softmax_inplace(logits, y)
        if not wanted:
            continue
        logits.scatter_add_(1, y, logits.new_full((len(x), 1), -1.0))
        if upstream is not None:
            logits.mul_(upstream[some, None])
        by_bias += logits.sum(0)
        error = logits.to(x.dtype)
        by_features[some] = product(error, weight)
        add_product_(by_weight, error.t(), x)
    return losses, [by_features, by_weight, by_bias] if wanted else []


def _softmax_inplace(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits become probabilities, in place; the cross-entropies come back.

    The largest logit and its probability tell the normalizer: exact where the target's own probability is rounded to 0.
    """
    largest, right = logits.amax(1), logits.gather(1, targets).squeeze(1)
    torch.softmax(logits, 1, out=logits)
    return (largest - right) - logits.amax(1).log()  # in another order a small loss is lost beside large logits


def noise_contrastive(
    scores: Float[Tensor, "n"],
    log_q: Float[Tensor, "n"],
    noise_scores: Float[Tensor, "n k"],
    noise_log_q: Float[Tensor, "k"],
) -> Float[Tensor, "n"]:
    r"""Tell the right word from k words of noise: no sum over the vocabulary.

    .. math:: \ell = -\log \sigma(\Delta(w)) - \sum_{j=1}^k \log \sigma(-\Delta(w_j)), \qquad
        \Delta(w) = s(w, h) - \log Z - \log k q(w)

    Gutmann and Hyvärinen, "Noise-contrastive estimation", 2010, equation 3, with k words of noise for each of the
    data; Mnih and Teh, "A fast and simple algorithm for training neural probabilistic language models", 2012, equation
    8, who let all contexts of a batch share the noise and fix log Z = 0. What is subtracted for log Z is part of the
    scores here. Where scores are normalized, and q > 0, the gradient tends to that of maximum likelihood as k grows.

    Args:
        scores: s of the right words, less log Z.
        log_q: log-probability of the right words under the noise.
        noise_scores: s of the noise in each context, less log Z.
        noise_log_q: log-probability of the noise, which all contexts share.

    >>> noise_contrastive(torch.zeros(1), torch.zeros(1), torch.zeros(1, 1), torch.zeros(1))  # 2 log 2
    tensor([1.3863])
    """
    log_k = math.log(noise_scores.shape[1])
    right = F.softplus(log_q + log_k - scores)
    wrong = F.softplus(noise_scores - (noise_log_q + log_k))
    return right + wrong.sum(1)


def sampled_softmax(
    scores: Float[Tensor, "n"],
    noise_scores: Float[Tensor, "n k"],
    noise_log_q: Float[Tensor, "k"],
    hits: Bool[Tensor, "n k"],
) -> Float[Tensor, "n"]:
    r"""Cross-entropy with the sum over the vocabulary estimated from k words of noise.

    .. math:: \ell = -s(w) + \log \Big( e^{s(w)} + \frac1k \sum_{j: w_j \ne w} \frac{e^{s(w_j)}}{q(w_j)} \Big)

    The sum is an importance sample: its expectation is that of all words (its logarithm's is less). Bengio and Senécal,
    "Quick training of probabilistic neural nets by importance sampling", 2003; with the right word always among them:
    Jean et al., "On using very large target vocabulary for neural machine translation", 2015, section 3.

    Args:
        scores: s of the right words.
        noise_scores: s of the noise in each context.
        noise_log_q: log-probability of the noise, which all contexts share.
        hits: where the noise is the right word itself, and does not count.

    >>> zeros = torch.zeros(1, 2)
    >>> sampled_softmax(zeros[:, 0], zeros, torch.full((2,), 0.25).log(), torch.tensor([[False, True]]))  # log(1 + 4/2)
    tensor([1.0986])
    """
    log_k = math.log(noise_scores.shape[1])
    others = (noise_scores - (noise_log_q + log_k)).masked_fill(hits, -torch.inf)
    return torch.cat([scores[:, None], others], 1).logsumexp(1) - scores
