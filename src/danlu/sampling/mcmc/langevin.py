"""Langevin sampling: steps along the gradient of the log-density with normal noise, without and with rejection."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from danlu.sampling.mcmc.checks import check_log_density, check_per_chain, check_positive, first_not_finite, per_chain
from danlu.sampling.mcmc.kernel import ChainState, Kernel, LogDensity
from danlu.sampling.mcmc.metropolis import accept_where


class _GradientKernel(Kernel):
    """A kernel with a step size that uses the gradient of the log-density."""

    def __init__(self, log_density: LogDensity, step_size: float | Tensor, gradient_clip: float | None = None):
        check_positive("step_size", step_size)
        if gradient_clip is not None:
            check_positive("gradient_clip", gradient_clip)
        self.log_density, self.step_size, self.gradient_clip = log_density, step_size, gradient_clip

    def check(self, x: Shaped[Tensor, "chains *shape"]) -> None:
        if not x.is_floating_point():
            raise ValueError(f"start has dtype {x.dtype}; gradients need floating-point numbers")
        check_per_chain("step_size", self.step_size, x)
        check_log_density(self.log_density, x)
        chain = first_not_finite(value_and_gradient(self.log_density, x)[1])
        if chain is not None:
            raise ValueError(f"the gradient of the log-density of chain {chain} is not finite at the start")

    def drift(self, x: Shaped[Tensor, "chains *shape"]) -> tuple[Tensor, Tensor]:
        """The log-density of each chain, and its gradient with the limit.

        Args:
            x: values of the chains.
        """
        values, gradient = value_and_gradient(self.log_density, x)
        if self.gradient_clip is None:
            return values, gradient
        return values, gradient.clamp(-self.gradient_clip, self.gradient_clip)

    @abstractmethod
    def move(
        self, state: ChainState, xi: Shaped[Tensor, "chains *shape"], uniform: Float[Tensor, "chains"] | None = None
    ) -> ChainState:
        """The state after a step with given random numbers.

        Args:
            state: the state before the step.
            xi: standard normal numbers.
            uniform: numbers from [0, 1) that decide the acceptance; unused without rejection.
        """


class Langevin(_GradientKernel):
    r"""Unadjusted Langevin sampling: every step is accepted, so the distribution has an error that shrinks with ε.

    .. math:: x' = x + \frac{\varepsilon^2}{2} \nabla \log p(x) + \sigma \xi, \quad \xi \sim N(0, I)

    with σ = ε. Roberts and Tweedie, "Exponential convergence of Langevin distributions and their discrete
    approximations", 1996, where h is ε².

    Args:
        log_density: logarithm of the unnormalized density, differentiable.
        step_size: ε, in units of x; a tensor (chains,) has one for each chain.
        noise: σ. None means ε. With another value the chain samples, in the limit of small steps, at the temperature
            (σ / ε)², as is common for deep energy models; 0 is gradient ascent.
        gradient_clip: largest absolute value of each entry of the gradient; None for no limit. With a limit, the
            chains have another distribution where it applies.

    Raises:
        ValueError: if the step size or the limit is not positive, the noise is negative, or the log-density or its
            gradient is not finite at the start.

    >>> from danlu.rng import generator
    >>> kernel = Langevin(lambda x: -x.square().sum(1) / 2, step_size=0.1, noise=0.0)
    >>> kernel.step(kernel.start(torch.ones(1, 2)), generator(0)).x
    tensor([[0.9950, 0.9950]])
    """

    def __init__(
        self,
        log_density: LogDensity,
        step_size: float | Tensor,
        noise: float | None = None,
        gradient_clip: float | None = None,
    ):
        super().__init__(log_density, step_size, gradient_clip)
        if noise is not None and not 0 <= noise < float("inf"):
            raise ValueError(f"noise={noise} must be None or a finite number that is at least 0")
        self.noise = noise

    def step(self, state: ChainState, generator: torch.Generator) -> ChainState:
        return self.move(state, torch.empty_like(state.x).normal_(generator=generator))

    @torch.no_grad()
    def move(
        self, state: ChainState, xi: Shaped[Tensor, "chains *shape"], uniform: Float[Tensor, "chains"] | None = None
    ) -> ChainState:
        x = state.x
        epsilon = per_chain(self.step_size, x)
        gradient = self.drift(x)[1]
        return self.state(x + epsilon**2 / 2 * gradient + (epsilon if self.noise is None else self.noise) * xi)


class MALA(_GradientKernel):
    r"""Metropolis-adjusted Langevin sampling: a Langevin step is the proposal, whose acceptance makes it exact.

    .. math:: q(x' \mid x) = N\!\left(x'; \; x + \tfrac{\varepsilon^2}{2} \nabla \log p(x), \; \varepsilon^2 I\right)

    Roberts and Tweedie, "Exponential convergence of Langevin distributions and their discrete approximations", 1996. An
    acceptance rate near 0.57 is efficient in many dimensions (Roberts and Rosenthal, 1998).

    Args:
        log_density: logarithm of the unnormalized density, differentiable.
        step_size: ε, in units of x; a tensor (chains,) has one for each chain.
        gradient_clip: largest absolute value of each entry of the gradient in the proposal; None for no limit. The
            chain stays exact, and does not stop where the gradient is large (the truncated
            algorithm of the same paper).

    Raises:
        ValueError: if the step size or the limit is not positive, or the log-density or its gradient is not finite at
            the start.

    >>> from danlu.rng import generator
    >>> kernel = MALA(lambda x: -x.square().sum(1) / 2, step_size=0.5)
    >>> kernel.step(kernel.start(torch.ones(3, 2)), generator(0)).acceptance.shape
    torch.Size([3])
    """

    def cache(self, x: Shaped[Tensor, "chains *shape"]) -> tuple[Tensor, ...]:
        return self.drift(x)

    def step(self, state: ChainState, generator: torch.Generator) -> ChainState:
        xi = torch.empty_like(state.x).normal_(generator=generator)
        return self.move(state, xi, torch.empty_like(state.cache[0]).uniform_(generator=generator))

    @torch.no_grad()
    def move(
        self, state: ChainState, xi: Shaped[Tensor, "chains *shape"], uniform: Float[Tensor, "chains"] | None = None
    ) -> ChainState:
        if uniform is None:
            raise ValueError("uniform=None must be given: MALA accepts or rejects each step")
        x, (log_density, gradient) = state.x, state.cache
        epsilon = per_chain(self.step_size, x)
        new = x + epsilon**2 / 2 * gradient + epsilon * xi
        new_log_density, new_gradient = self.drift(new)
        back = (x - new - epsilon**2 / 2 * new_gradient) / epsilon  # the noise that would lead from x' to x
        log_ratio = new_log_density - log_density + (_squared_norm(xi) - _squared_norm(back)) / 2
        return accept_where(state, new, (new_log_density, new_gradient), log_ratio, uniform)


def value_and_gradient(
    log_density: LogDensity, x: Shaped[Tensor, "chains *shape"]
) -> tuple[Float[Tensor, "chains"], Float[Tensor, "chains *shape"]]:
    """The log-density of each chain and its gradient with respect to x. Gradients of parameters are not computed.

    Args:
        log_density: the log-density.
        x: values of the chains.

    Raises:
        ValueError: if the log-density is not differentiable.

    >>> value_and_gradient(lambda x: x.square().sum(1), torch.ones(2, 1))
    (tensor([1., 1.]), tensor([[2.], [2.]]))
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = log_density(x)
        if not values.requires_grad:
            raise ValueError("the log-density has no gradient with respect to x; compute it from x by torch operations")
        (gradient,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), gradient


def _squared_norm(x: Tensor) -> Tensor:
    """The squared Euclidean norm of each chain."""
    return x.reshape(len(x), math.prod(x.shape[1:])).square().sum(1)
