"""The interface of autoregressive networks: each output depends only on earlier inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

NextEntry = Callable[[int, Float[Tensor, "n outputs"]], Float[Tensor, "n"]]
"""from a position and the outputs for it to the entry at this position"""
NextArray = Callable[[int, np.ndarray], np.ndarray]
"""the same with arrays on a CPU: from a position and the outputs for it, (outputs, n), to the entry, (n,)"""
NextGradient = Callable[[int, Float[Tensor, "n"]], Float[Tensor, "n outputs"]]
"""from a position and the gradient of its entry to the gradients of the outputs for it"""


class Conditioner(nn.Module):
    """Base class of networks that compute the parameters of each entry of a vector from the entries before it.

    ``forward(x, context)`` returns (n, size, outputs); row i must depend only on entries 0 to i - 1 of x and on the
    context. A subclass needs nothing else. ``generate`` and ``backsolve`` then evaluate the network once for each
    entry; a subclass with a structure that allows it can replace both by faster methods with the same results.

    Args:
        size: number of entries.
        outputs: number of outputs for each entry.

    Raises:
        ValueError: if an argument is less than 1.

    >>> class Previous(Conditioner):
    ...     def forward(self, x, context=None):
    ...         return torch.cat([x[:, :1] * 0, x[:, :-1]], dim=1).unsqueeze(2)
    >>> Previous(3, 1).generate(lambda i, outputs: outputs[:, 0] + 1, torch.zeros(1, 3))
    tensor([[1., 2., 3.]])
    """

    def __init__(self, size: int, outputs: int):
        super().__init__()
        if size < 1 or outputs < 1:
            raise ValueError(f"size={size} and outputs={outputs} must be at least 1")
        self.size, self.outputs = size, outputs

    def forward(
        self, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n size outputs"]:
        """The outputs for all entries at once."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    @torch.no_grad()
    def generate(
        self, step: NextEntry, like: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n size"]:
        """Compute the entries of x one after another, without gradients.

        Args:
            step: called for i = 0, 1, …, size - 1 with the outputs for entry i; it returns entry i.
            like: a tensor with the shape, data type and device of x; its values are not used.
            context: the second input of ``forward``.
        """
        x = torch.zeros_like(like)
        for i in range(self.size):
            x[:, i] = step(i, self(x, context)[:, i])
        return x

    def backsolve(
        self, step: NextGradient, x: Float[Tensor, "n size"], context: Float[Tensor, "n c"] | None = None
    ) -> None:
        """Propagate gradients backwards through the entries, from the last to the first.

        Args:
            step: called for i = size - 1, …, 0 with the gradient of entry i that comes from the outputs for later
                entries; it returns the gradient of the outputs for entry i.
            x: the entries.
            context: the second input of ``forward``.
        """
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            outputs = self(leaf, context)
        gradients = torch.zeros_like(outputs)
        for i in reversed(range(self.size)):
            of_x = None
            if outputs.requires_grad:
                (of_x,) = torch.autograd.grad(outputs, leaf, gradients, retain_graph=True, allow_unused=True)
            gradients[:, i] = step(i, torch.zeros_like(x[:, i]) if of_x is None else of_x[:, i])
