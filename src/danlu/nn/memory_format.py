"""The order in memory of the weights of convolutions, which changes their speed and nothing else."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


def fastest_format(device: torch.device) -> torch.memory_format:
    """The memory format in which convolutions and pooling are faster on a device.

    On a CPU it is channels-last, because the channels of a pixel are processed by one vector instruction. On a GPU it
    depends on the precision and on the sizes; torch's default is used.

    >>> fastest_format(torch.device("cpu"))
    torch.channels_last
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def place(module: _Module, device: torch.device) -> _Module:
    """Move a module to a device, with the memory format of convolutions that is faster there.

    Images need no conversion: a convolution converts its input, and its output has the format of its weights.

    Args:
        module: the module; it is modified.
        device: the device.

    Returns:
        The module.

    >>> place(nn.Conv2d(3, 8, kernel_size=3), torch.device("cpu")).weight.stride()
    (27, 1, 9, 3)
    """
    return module.to(device).to(memory_format=fastest_format(device))  # type: ignore[call-overload]
