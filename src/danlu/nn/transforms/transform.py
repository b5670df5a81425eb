"""The interface of invertible transforms, and chains of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.derivatives import is_observed, records_backward
from danlu.nn.transforms.coupling_function import Step, coupling_stack


class Transform(nn.Module):
    r"""An invertible function f from data to latents, :math:`z = f(x)`, that knows its inverse and its Jacobian.

    With it the density of z becomes a density of x:

    .. math:: \log p(x) = \log p_z(f(x)) + \log \left| \det \frac{\partial f(x)}{\partial x} \right|

    Rezende and Mohamed, "Variational inference with normalizing flows", 2015, equation 5, where the function goes from
    latents to data: their f is ``inverse``.

    A subclass defines ``forward`` and ``inverse``. Both return one log-determinant for each example.
    """

    def forward(
        self, x: Float[Tensor, "n *shape"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n *latent"], Float[Tensor, "n"]]:
        """From data to latents.

        Args:
            x: the examples.
            context: a condition for each example, such as a one-hot label; None if there is none.

        Returns:
            z, and log |det ∂z/∂x| of each example.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def inverse(
        self, z: Float[Tensor, "n *latent"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "n *shape"], Float[Tensor, "n"]]:
        """From latents to data.

        Args:
            z: the latents.
            context: as in ``forward``.

        Returns:
            x, and log |det ∂x/∂z| of each example.
        """
        raise NotImplementedError(f"{type(self).__name__} must define inverse")

    def initialize(
        self, x: Float[Tensor, "n *shape"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n *latent"]:
        """Set the parameters whose initial values depend on data, and return z. Most transforms have none.

        Args:
            x: a batch of examples.
            context: as in ``forward``.
        """
        return self(x, context)[0]

    def step(self, x: Tensor, context: Tensor | None, inverse: bool) -> Step | None:
        """The transform as a part of a stack of couplings that is computed as one function; None if it is no such part.

        Args:
            x: what the stack is applied to.
            context: as in ``forward``.
            inverse: whether ``inverse`` is meant instead of ``forward``.
        """
        return None


class Chain(Transform):
    r"""Transforms one after another: :math:`f = f_k \circ \dots \circ f_1`. The log-determinants are added.

    Args:
        transforms: the transforms, in the order from data to latents.

    Raises:
        TypeError: if one of them is no ``Transform``.

    >>> from danlu.nn import Reverse
    >>> z, log_det = Chain([Reverse(), Reverse()])(torch.tensor([[1.0, 2.0]]))
    >>> z, log_det
    (tensor([[1., 2.]]), tensor([0.]))
    """

    def __init__(self, transforms: Iterable[Transform]):
        super().__init__()
        self.transforms = nn.ModuleList()
        for number, transform in enumerate(transforms):
            _check_transform(f"transforms[{number}]", transform)
            self.transforms.append(transform)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the transforms in order."""
        return self._apply_in_order(list(self.transforms), x, context, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the inverses in reverse order."""
        return self._apply_in_order(list(reversed(self.transforms)), z, context, inverse=True)

    @staticmethod
    def _apply_in_order(
        transforms: list[Any], x: Tensor, context: Tensor | None, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """Apply transforms; consecutive couplings are one function where that is possible."""
        total, done, stacks = x.new_zeros(x.shape[0]), 0, records_backward(x)
        while done < len(transforms):
            every = (transform.step(x, context, inverse) for transform in transforms[done:])
            if steps := list(takewhile(lambda step: step is not None, every)) if stacks else []:
                x, log_det = coupling_stack(x, context, steps)
            else:
                x, log_det = transforms[done].inverse(x, context) if inverse else transforms[done](x, context)
            total, done = total + log_det, done + max(len(steps), 1)
        return x, total

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialize each transform with the output of the previous one."""
        for transform in self.transforms:
            x = transform.initialize(x, context)  # type: ignore[operator]
        return x


class Inverse(Transform):
    """A transform in the other direction, with shared parameters: its ``forward`` is the ``inverse`` of the other.

    Args:
        transform: the other transform. Its initial parameters must not depend on data.

    Raises:
        TypeError: if it is no ``Transform``.

    >>> from danlu.nn import ActNorm
    >>> scale = ActNorm(1)
    >>> _ = nn.init.constant_(scale.log_scale, 1.0)
    >>> Inverse(scale)(scale(torch.ones(1, 1))[0])
    (tensor([[1.]], grad_fn=...), tensor([-1.], grad_fn=...))
    """

    def __init__(self, transform: Transform):
        super().__init__()
        _check_transform("transform", transform)
        self.transform = transform

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The inverse of the other transform."""
        return self.transform.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The forward direction of the other transform."""
        return self.transform(z, context)

    def step(self, x: Tensor, context: Tensor | None, inverse: bool) -> Step | None:
        """The step of the other transform in the other direction."""
        return None if is_observed(self) or type(self) is not Inverse else self.transform.step(x, context, not inverse)


def _check_transform(name: str, transform: object) -> None:
    """Check an argument.

    Raises:
        TypeError: if it is no ``Transform``.
    """
    if not isinstance(transform, Transform):
        raise TypeError(
            f"{name} is a {type(transform).__name__}, which is not a danlu.nn.Transform; define a subclass of "
            "danlu.nn.Transform with forward and inverse"
        )


class Reverse(Transform):
    """The values of each example in reverse order. The log-determinant is 0.

    >>> Reverse()(torch.tensor([[1.0, 2.0, 3.0]]))
    (tensor([[3., 2., 1.]]), tensor([0.]))
    """

    def forward(self, x: Float[Tensor, "n d"], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The reversed rows."""
        return x.flip(1), x.new_zeros(x.shape[0])

    def inverse(self, z: Float[Tensor, "n d"], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The reversed rows."""
        return z.flip(1), z.new_zeros(z.shape[0])


class Permutation(Transform):
    """The values of each example in a fixed random order. The log-determinant is 0.

    The order is drawn when the transform is created, and is saved with the weights.

    Args:
        size: number of values d of an example.

    >>> permutation = Permutation(4)
    >>> x = torch.arange(4.0)[None]
    >>> permutation.inverse(permutation(x)[0])[0].equal(x)
    True
    """

    order: Tensor
    inverse_order: Tensor

    def __init__(self, size: int):
        super().__init__()
        for name in ("order", "inverse_order"):
            self.register_buffer(name, torch.empty(size, dtype=torch.int64))
        if not self.order.is_meta:  # there are no values, and sorting would import large packages
            self.order.copy_(torch.rand(size).argsort())
            self.inverse_order.copy_(self.order.argsort())

    def forward(self, x: Float[Tensor, "n d"], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The permuted rows."""
        return x.index_select(1, self.order), x.new_zeros(x.shape[0])

    def inverse(self, z: Float[Tensor, "n d"], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The rows in their original order."""
        return z.index_select(1, self.inverse_order), z.new_zeros(z.shape[0])
