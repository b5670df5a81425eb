"""Losses of critic and generator as functions of the critic's scores, one value per example.

A score is the output of the critic: a logit, where D = σ(score) is the probability that the example is real, or, for
the Wasserstein distance, any real number. Each player minimizes its own loss.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Loss = Literal["minimax", "non-saturating", "least-squares", "hinge", "wasserstein"]
TARGETED: tuple[Loss, ...] = ("minimax", "non-saturating", "least-squares")
"""Losses with a target for the scores, which label smoothing can change."""

_Scores = Float[Tensor, "n"]


def real_cost(scores: _Scores, loss: Loss, target: float = 1.0) -> _Scores:
    r"""Loss of the critic on real examples.

    ================================  =====================================================
    minimax, non-saturating           :math:`-t \log D - (1 - t) \log (1 - D)`
    least-squares                     :math:`\tfrac12 (s - t)^2`
    hinge                             :math:`\max(0, 1 - s)`
    wasserstein                       :math:`-s`
    ================================  =====================================================

    Goodfellow et al., "Generative adversarial nets", 2014, equation 1; Mao et al., "Least squares generative
    adversarial networks", 2017, equation 9 (a = 0, b = c = 1); Miyato et al., "Spectral normalization for generative
    adversarial networks", 2018, equation 16; Arjovsky et al., "Wasserstein GAN", 2017, equation 3. A target t below 1
    is the one-sided label smoothing of Salimans et al., "Improved techniques for training GANs", 2016, section 3.4.

    Args:
        scores: scores of real examples.
        loss: name of the loss.
        target: target t for real examples; 1 without label smoothing.

    >>> real_cost(torch.zeros(2), "non-saturating")
    tensor([0.6931, 0.6931])
    """
    match loss:
        case "minimax" | "non-saturating":
            return _cross_entropy(scores, target)
        case "least-squares":
            return 0.5 * (scores - target).square()
        case "hinge":
            return F.relu(1 - scores)
    return -scores


def fake_cost(scores: _Scores, loss: Loss, target: float = 0.0) -> _Scores:
    r"""Loss of the critic on generated examples.

    ================================  =====================================================
    minimax, non-saturating           :math:`-t \log D - (1 - t) \log (1 - D)`
    least-squares                     :math:`\tfrac12 (s - t)^2`
    hinge                             :math:`\max(0, 1 + s)`
    wasserstein                       :math:`s`
    ================================  =====================================================

    Args:
        scores: scores of generated examples.
        loss: name of the loss; for the sources see ``real_cost``.
        target: target t for generated examples; 0 without label smoothing.

    >>> fake_cost(torch.tensor([-2.0, 0.0]), "hinge")
    tensor([0., 1.])
    """
    match loss:
        case "minimax" | "non-saturating":
            return _cross_entropy(scores, target)
        case "least-squares":
            return 0.5 * (scores - target).square()
        case "hinge":
            return F.relu(1 + scores)
    return scores


def generator_cost(scores: _Scores, loss: Loss) -> _Scores:
    r"""Loss of the generator on its examples.

    ================================  =====================================================
    minimax                           :math:`\log (1 - D)`
    non-saturating                    :math:`-\log D`
    least-squares                     :math:`\tfrac12 (s - 1)^2`
    hinge, wasserstein                :math:`-s`
    ================================  =====================================================

    The gradient of the minimax loss vanishes where the critic is confident. The non-saturating loss has the same fixed
    point without this problem (Goodfellow et al., 2014, section 3).

    Args:
        scores: scores of generated examples.
        loss: name of the loss; for the sources see ``real_cost``.

    >>> generator_cost(torch.tensor([-5.0]), "minimax"), generator_cost(torch.tensor([-5.0]), "non-saturating")
    (tensor([-0.0067]), tensor([5.0067]))
    """
    match loss:
        case "minimax":
            return -F.softplus(scores)
        case "non-saturating":
            return F.softplus(-scores)
        case "least-squares":
            return 0.5 * (scores - 1).square()
    return -scores


def slopes(scores: _Scores, x: Float[Tensor, "n *shape"]) -> _Scores:
    r"""Norm of the gradient of each score with respect to its example, :math:`\lVert \nabla_x s(x) \rVert_2`.

    The result is differentiable.

    Args:
        scores: scores of the examples; a score must not depend on other examples.
        x: the examples, with ``requires_grad``.

    >>> x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> slopes(0.5 * x.square().sum(1), x)
    tensor([5.], grad_fn=<...>)
    """
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    # the square root has no derivative at 0: clamping avoids NaN where the gradient is exactly 0
    return gradient.flatten(1).square().sum(1).clamp_min(torch.finfo(x.dtype).tiny).sqrt()


def slope_penalty(slope: _Scores, one_sided: bool = False) -> _Scores:
    r"""Gradient penalty, :math:`(\lVert \nabla_x s \rVert_2 - 1)^2`.

    Gulrajani et al., "Improved training of Wasserstein GANs", 2017, equation 3. The one-sided penalty applies only to
    gradient norms above 1 (their section 4, and Petzka et al., "On the regularization of Wasserstein GANs", 2018).

    Args:
        slope: gradient norm of each example.
        one_sided: whether norms below 1 have no penalty.

    >>> slope_penalty(torch.tensor([3.0, 0.5])), slope_penalty(torch.tensor([3.0, 0.5]), one_sided=True)
    (tensor([4.0000, 0.2500]), tensor([4., 0.]))
    """
    excess = slope - 1
    return (F.relu(excess) if one_sided else excess).square()


def _cross_entropy(scores: _Scores, target: float) -> _Scores:
    """Binary cross-entropy of a logit and a target from 0 to 1, in two parts for precision at large scores."""
    if target == 1:  # without smoothing, one part has weight 0
        return F.softplus(-scores)
    if target == 0:
        return F.softplus(scores)
    return target * F.softplus(-scores) + (1 - target) * F.softplus(scores)
