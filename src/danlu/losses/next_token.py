"""Losses for next-token prediction: chunked cross-entropy, and two losses that sample from the vocabulary."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from danlu.nn.derivatives import without_autocast
from danlu.nn.linear import add_product_, product

LOGITS_IN_MEMORY = 1 << 22
"""Number of logits in memory at a time: 16 MiB in float32. Smaller chunks read the weights too often."""


def chunked_cross_entropy(
    features: Float[Tensor, "n d"],
    weight: Float[Tensor, "v d"],
    bias: Float[Tensor, "v"],
    targets: Int[Tensor, "n"],
    rows: int | None = None,
) -> Float[Tensor, "n"]:
    r"""Cross-entropy of a softmax over the vocabulary, without holding all n × v logits in memory.

    .. math:: \ell_i = \log \sum_w e^{z_{iw}} - z_{i y_i}, \qquad z_i = W f_i + b

    Logits are computed for a few rows at a time and turned into gradients immediately, in place. If the upstream
    gradient is the same for all rows, as for a mean, ``backward`` only scales these gradients; otherwise it computes
    the chunks again. At most ``rows`` × v logits exist at a time, plus gradients of the size of the parameters. Second
    derivatives use all logits.

    Args:
        features: inputs f of the last layer.
        weight: weight matrix W, one row per word.
        bias: bias b.
        targets: index y of the correct word of each row.
        rows: rows per chunk; by default about four million logits.

    >>> weight, bias = torch.zeros(10, 3), torch.zeros(10)
    >>> chunked_cross_entropy(torch.ones(2, 3), weight, bias, torch.tensor([3, 7]), rows=1)
    tensor([2.3026, 2.3026])
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):  # the backward pass gets these tensors, and has no autocast
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
    rows = rows or max(1, LOGITS_IN_MEMORY // len(weight))
    grad_enabled = torch.is_grad_enabled()  # grad mode is off inside the autograd function
    return _Chunked.apply(features, weight, bias, targets, rows, grad_enabled)  # type: ignore[return-value]


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, rows: int, grad_enabled: bool
    ) -> Tensor:
        ctx.rows = rows
        with_gradients = grad_enabled and any(ctx.needs_input_grad[:3])
        losses, gradients = _losses_and_gradients(features, weight, bias, targets, rows, with_gradients)
        ctx.save_for_backward(features, weight, bias, targets, *gradients)
        return losses

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        features, weight, bias, targets, *saved = ctx.saved_tensors
        (upstream,) = gradients
        if torch.is_grad_enabled():  # a second derivative may be requested
            return *_differentiable_gradients(features, weight, bias, targets, upstream), None, None, None
        if _is_constant(upstream):
            scale = upstream[0]
        else:
            _, saved = _losses_and_gradients(features, weight, bias, targets, ctx.rows, True, upstream)
            scale = upstream.new_ones(())
        inputs = (features, weight, bias)
        return *((gradient * scale).to(x.dtype) for gradient, x in zip(saved, inputs, strict=True)), None, None, None


def _is_constant(values: Tensor) -> bool:
    """Whether all values are known to be equal; values on a GPU are not compared, which would synchronize."""
    expanded = set(values.stride()) == {0}
    return len(values) > 0 and (expanded or (values.device.type == "cpu" and bool((values == values[:1]).all())))


def _differentiable_gradients(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, upstream: Tensor
) -> list[Tensor | None]:
    """Differentiable gradients, computed with all logits."""
    # Aliases: weights and features may share a history (tied embeddings), through which gradients must not flow here.
    x, w, b = (tensor.view_as(tensor) for tensor in (features, weight, bias))
    inputs = [tensor for tensor in (x, w, b) if tensor.requires_grad]
    logits = F.linear(x, w, b.to(w.dtype)).to(upstream.dtype)
    losses = F.cross_entropy(logits, targets, reduction="none")
    gradients = iter(torch.autograd.grad(losses, inputs, upstream, create_graph=True))
    return [next(gradients) if tensor.requires_grad else None for tensor in (x, w, b)]


def _losses_and_gradients(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    rows: int,
    with_gradients: bool,
    upstream: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Losses and, if ``with_gradients``, gradients of their sum, weighted by the upstream gradient."""
    exact = torch.promote_types(features.dtype, torch.float32)
    losses = torch.empty(len(features), dtype=exact, device=features.device)
    grad_features = torch.empty_like(features, dtype=exact) if with_gradients else features
    grad_weight = torch.zeros_like(weight, dtype=exact) if with_gradients else weight
    grad_bias = torch.zeros_like(bias, dtype=exact)
    for start in range(0, len(features), rows):
        chunk = slice(start, start + rows)
        x, y = features[chunk], targets[chunk, None]
        logits = product(x, weight.t(), bias.to(x.dtype)).to(exact)
        losses[chunk] = _softmax_inplace(logits, y)
        if not with_gradients:
            continue
        logits.scatter_add_(1, y, logits.new_full((len(x), 1), -1.0))
        if upstream is not None:
            logits.mul_(upstream[chunk, None])
        grad_bias += logits.sum(0)
        error = logits.to(x.dtype)
        grad_features[chunk] = product(error, weight)
        add_product_(grad_weight, error.t(), x)
    return losses, [grad_features, grad_weight, grad_bias] if with_gradients else []


def _softmax_inplace(logits: Tensor, targets: Tensor) -> Tensor:
    """Replace logits by probabilities in place and return the cross-entropies.

    The normalizer is computed from the largest logit and its probability, which is exact even if the probability of the
    target rounds to 0.
    """
    largest, target_logits = logits.amax(1), logits.gather(1, targets).squeeze(1)
    torch.softmax(logits, 1, out=logits)
    return (largest - target_logits) - logits.amax(
        1
    ).log()  # the order of operations preserves small losses at large logits


def noise_contrastive(
    scores: Float[Tensor, "n"],
    log_q: Float[Tensor, "n"],
    noise_scores: Float[Tensor, "n k"],
    noise_log_q: Float[Tensor, "k"],
) -> Float[Tensor, "n"]:
    r"""Noise-contrastive estimation: classify the correct word against k noise words.

    .. math:: \ell = -\log \sigma(\Delta(w)) - \sum_{j=1}^k \log \sigma(-\Delta(w_j)), \qquad
        \Delta(w) = s(w, h) - \log Z - \log k q(w)

    Gutmann and Hyvärinen, "Noise-contrastive estimation", 2010, equation 3, with k noise words per data word;
    Mnih and Teh, "A fast and simple algorithm for training neural probabilistic language models", 2012, equation 8,
    where all contexts of a batch share the noise and log Z = 0. Here log Z is already subtracted from the scores. If
    scores are normalized and q > 0, the gradient approaches that of maximum likelihood as k grows.

    Args:
        scores: s - log Z of the correct words.
        log_q: log-probability of the correct words under the noise distribution.
        noise_scores: s - log Z of the noise words in each context.
        noise_log_q: log-probability of the noise words, which all contexts share.

    >>> noise_contrastive(torch.zeros(1), torch.zeros(1), torch.zeros(1, 1), torch.zeros(1))  # 2 log 2
    tensor([1.3863])
    """
    log_k = math.log(noise_scores.shape[1])
    target_loss = F.softplus(log_q + log_k - scores)
    noise_loss = F.softplus(noise_scores - (noise_log_q + log_k))
    return target_loss + noise_loss.sum(1)


def sampled_softmax(
    scores: Float[Tensor, "n"],
    noise_scores: Float[Tensor, "n k"],
    noise_log_q: Float[Tensor, "k"],
    hits: Bool[Tensor, "n k"],
) -> Float[Tensor, "n"]:
    r"""Cross-entropy with the sum over the vocabulary estimated from k noise words.

    .. math:: \ell = -s(w) + \log \Big( e^{s(w)} + \frac1k \sum_{j: w_j \ne w} \frac{e^{s(w_j)}}{q(w_j)} \Big)

    The sum is an unbiased importance-sampling estimate; its logarithm is biased downwards. Bengio and Senécal, "Quick
    training of probabilistic neural nets by importance sampling", 2003; with the correct word always included: Jean et
    al., "On using very large target vocabulary for neural machine translation", 2015, section 3.

    Args:
        scores: s of the correct words.
        noise_scores: s of the noise words in each context.
        noise_log_q: log-probability of the noise words, which all contexts share.
        hits: where a noise word equals the correct word, which excludes it from the sum.

    >>> zeros = torch.zeros(1, 2)
    >>> sampled_softmax(zeros[:, 0], zeros, torch.full((2,), 0.25).log(), torch.tensor([[False, True]]))  # log(1 + 4/2)
    tensor([1.0986])
    """
    log_k = math.log(noise_scores.shape[1])
    noise_terms = (noise_scores - (noise_log_q + log_k)).masked_fill(hits, -torch.inf)
    return torch.cat([scores[:, None], noise_terms], 1).logsumexp(1) - scores
