"""Checks of densities, states and settings of chains, and numbers that differ between chains."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod

from jaxtyping import Float, Shaped
from torch import Tensor

from danlu.errors import RunError


def check_log_density(
    log_density: Callable[[Tensor], Tensor], x: Shaped[Tensor, "chains *shape"]
) -> Float[Tensor, "chains"]:
    """The log-densities at the start of the chains.

    Args:
        log_density: the log-density.
        x: values of the chains.

    Raises:
        ValueError: if they are not one floating-point number per chain, or one is not finite.

    >>> check_log_density(lambda x: x.log(), torch.tensor([1.0, 0.0]))
    Traceback (most recent call last):
    ValueError: the log-density of chain 1 is -inf at the start; start where the density is positive and finite
    """
    values = log_density(x)
    check_shape("the log-density", values, (len(x),))
    if not values.is_floating_point():
        raise ValueError(f"the log-density has dtype {values.dtype}; return floating-point numbers")
    chain = first_not_finite(values)
    if chain is not None:
        raise ValueError(
            f"the log-density of chain {chain} is {float(values[chain])} at the start; "
            f"start where the density is positive and finite"
        )
    return values


def check_draws(x: Shaped[Tensor, "chains *shape"], steps: int) -> None:
    """Raise an error if the value of a chain is not finite after some steps.

    Args:
        x: values of the chains.
        steps: number of steps of the chains.

    Raises:
        RunError: if a value is not finite.
    """
    chain = first_not_finite(x)
    if chain is not None:
        raise RunError(f"chain {chain} is not finite after {steps} steps; use a smaller step size, or MALA")


def first_not_finite(values: Shaped[Tensor, "chains *shape"]) -> int | None:
    """The first chain with a value that is not finite; None if all are finite.

    Args:
        values: values of the chains.

    >>> first_not_finite(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]))
    1
    """
    finite = values.isfinite().reshape(len(values), prod(values.shape[1:])).all(1)
    return None if bool(finite.all()) else int((~finite).int().argmax())


def check_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raise a ValueError if a tensor that a function of the caller returned has another shape.

    Args:
        name: name of the tensor.
        value: the tensor.
        shape: the expected shape.

    >>> check_shape("the log-density", torch.zeros(3, 1), (3,))
    Traceback (most recent call last):
    ValueError: the log-density has shape (3, 1), must be (3,)
    """
    if value.shape != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, must be {tuple(shape)}")


def check_positive(name: str, value: float | Tensor) -> None:
    """Raise a ValueError unless a number is positive and finite. Tensors are checked with the chains, at their start.

    Args:
        name: name of the number.
        value: the number.

    >>> check_positive("step_size", -1.0)
    Traceback (most recent call last):
    ValueError: step_size=-1.0 must be a finite number greater than 0
    """
    if not isinstance(value, Tensor) and not (value > 0 and isfinite(value)):
        raise ValueError(f"{name}={value} must be a finite number greater than 0")


def check_per_chain(name: str, value: float | Tensor, x: Shaped[Tensor, "chains *shape"]) -> None:
    """Raise a ValueError unless a tensor has one positive number, or one for each chain.

    Args:
        name: name of the numbers.
        value: the tensor; other numbers are not checked.
        x: values of the chains.
    """
    if not isinstance(value, Tensor):
        return
    if value.shape not in ((), (len(x),)):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; it must be a number or have shape ({len(x)},)")
    for number in value.flatten()[~((value > 0) & value.isfinite()).flatten()].tolist():
        check_positive(name, number)


def per_chain(value: float | Tensor, x: Shaped[Tensor, "chains *shape"]) -> float | Tensor:
    """A number, or one for each chain with dimensions added so that it broadcasts with x.

    Args:
        value: a number, or a tensor (chains,).
        x: values of the chains.
    """
    return broadcastable(value, x) if isinstance(value, Tensor) and value.ndim else value


def broadcastable(value: Shaped[Tensor, "chains"], x: Shaped[Tensor, "chains *shape"]) -> Shaped[Tensor, "chains ..."]:
    """The value of each chain, with dimensions added so that it broadcasts with x.

    Args:
        value: values, (chains,).
        x: values of the chains.

    >>> broadcastable(torch.ones(3), torch.zeros(3, 2, 2)).shape
    torch.Size([3, 1, 1])
    """
    return value.view(-1, *[1] * (x.ndim - 1))
