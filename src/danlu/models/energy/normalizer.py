"""The logarithm of a normalizer: its kind, its error, and a cache that notices when parameters change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from danlu.sampling.mcmc.annealed import AnnealedEstimate

CHAINS, BETAS = 100, (2_000, 8_000, 32_000)
"""defaults of annealed importance sampling: chains, and numbers of inverse temperatures, tried in order"""
ENOUGH = 0.3
"""effective sample size, as a fraction of the chains, with which no more inverse temperatures are tried"""


@dataclass(frozen=True)
class LogNormalizer:
    """The logarithm of the normalizer Z of a distribution.

    Attributes:
        value: log Z in nats.
        kind: exact, estimate, or unreliable: an estimate to which few chains contribute, so that its error is unknown.
        standard_error: standard error in nats: 0 if exact, None if unreliable.
        effective_sample_size: effective sample size of the weights of the chains; None if exact, or an integral
            on a grid.
        chains: number of chains; 0 without chains.
        betas: number of inverse temperatures; 0 without chains.

    >>> print(LogNormalizer(2.5, "exact", 0.0, None, 0))
    log Z = 2.5, exact
    """

    value: float
    kind: Literal["exact", "estimate", "unreliable"]
    standard_error: float | None
    effective_sample_size: float | None
    chains: int
    betas: int = 0

    @property
    def method(self) -> str:
        """How an estimate was made."""
        return "annealed importance sampling" if self.chains else "integral on a grid"

    def __str__(self) -> str:
        if self.kind == "exact":
            return f"log Z = {self.value:.6g}, exact"
        error = "unreliable" if self.standard_error is None else f"± {self.standard_error:.2g}"
        if self.effective_sample_size is None:
            return f"log Z = {self.value:.6g}, {error} ({self.method})"
        size = f"{self.effective_sample_size:.0f} of {self.chains}"
        return f"log Z = {self.value:.6g}, {error} ({self.method}, effective sample size {size})"


def exactly(log_z: Tensor) -> LogNormalizer:
    """An exact normalizer.

    Args:
        log_z: the logarithm, with one value.
    """
    return LogNormalizer(float(log_z), "exact", 0.0, None, 0)


def estimated(estimate: AnnealedEstimate) -> LogNormalizer:
    """An estimated normalizer.

    Args:
        estimate: the result of annealed importance sampling.
    """
    kind: Literal["estimate", "unreliable"] = "unreliable" if estimate.unreliable else "estimate"
    size, chains = estimate.effective_sample_size, len(estimate.log_weights)
    return LogNormalizer(estimate.log_z, kind, estimate.standard_error, size, chains)


def temperatures(count: int) -> Float64[Tensor, "count"]:
    """Inverse temperatures from 0 to 1 for annealed importance sampling, denser toward 1: 1 − (1 − u)² for even u.

    Near 1 the weights of the chains vary most, as in Salakhutdinov and Murray, "On the quantitative analysis of deep
    belief networks", 2008, section 5.1, who use 10,000 of 14,500 values between 0.9 and 1.

    Args:
        count: number of values, at least 2.

    Raises:
        ValueError: if there are fewer.

    >>> temperatures(5).tolist()
    [0.0, 0.4375, 0.75, 0.9375, 1.0]
    """
    if count < 2:
        raise ValueError(f"betas={count} must be at least 2")
    return 1 - (1 - torch.linspace(0, 1, count, dtype=torch.float64)).square()


class NormalizerCache:
    """Keeps the last normalizer of each set of arguments, with a copy of the tensors that it was computed from.

    The values are compared, because not every optimizer counts its changes of a tensor.

    >>> cache, weight = NormalizerCache(), torch.zeros(2)
    >>> values = iter([1.0, 2.0])
    >>> compute = lambda: LogNormalizer(next(values), "exact", 0.0, None, 0)
    >>> first, again = (cache.get([weight], (), compute).value for _ in range(2))
    >>> weight += 1
    >>> first, again, cache.get([weight], (), compute).value
    (1.0, 1.0, 2.0)
    """

    def __init__(self) -> None:
        self._tensors: tuple[Tensor, ...] = ()
        self._values: dict[tuple[int, ...], LogNormalizer] = {}

    @torch.no_grad()
    def get(
        self, tensors: Iterable[Tensor], arguments: tuple[int, ...], compute: Callable[[], LogNormalizer]
    ) -> LogNormalizer:
        """The kept normalizer if nothing has changed, otherwise a new one.

        Args:
            tensors: the tensors that it depends on.
            arguments: the other arguments that it depends on.
            compute: function that computes it.
        """
        tensors = tuple(tensors)
        if not self._same(tensors):
            self._tensors, self._values = tuple(tensor.clone() for tensor in tensors), {}
        if arguments not in self._values:
            self._values[arguments] = compute()
        return self._values[arguments]

    def _same(self, tensors: tuple[Tensor, ...]) -> bool:
        """Whether the tensors have the values, types and devices of the kept ones."""
        return len(tensors) == len(self._tensors) and all(
            one.dtype == other.dtype and one.device == other.device and one.equal(other)
            for one, other in zip(tensors, self._tensors, strict=True)
        )

    def __deepcopy__(self, memo: dict[int, object]) -> NormalizerCache:
        """A copy of a model starts with an empty cache."""
        return NormalizerCache()

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        NormalizerCache.__init__(self)
