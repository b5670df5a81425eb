"""The overlap of recalled patterns in the mean-field theory of the Hopfield network."""

from __future__ import annotations

import math


def overlap(load: float) -> float:
    r"""The overlap m of the recalled state with its pattern, for N → ∞ and a load :math:`\alpha = p/N`.

    .. math:: m = \operatorname{erf}(y), \qquad
        y \left( \sqrt{2 \alpha} + \tfrac{2}{\sqrt \pi} e^{-y^2} \right) = \operatorname{erf}(y)

    Amit, Gutfreund and Sompolinsky, "Storing infinite numbers of patterns in a spin-glass model of neural networks",
    1985, at temperature 0 with replica symmetry. The largest solution is found by iteration from large y. Above a load
    of 0.138 the only solution is 0.

    Args:
        load: the load α, above 0.

    >>> round(overlap(0.1), 3), overlap(0.15)
    (0.998, 0.0)
    """
    y = 1 / math.sqrt(2 * load)  # not below the solution, because the error function is at most 1
    for _ in range(20_000):  # each step lowers y; near 0.138 the steps are short
        after = math.erf(y) / (math.sqrt(2 * load) + 2 / math.sqrt(math.pi) * math.exp(-y * y))
        if abs(after - y) < 1e-12:
            break
        y = after
    return math.erf(y) if y > 1e-3 else 0.0
