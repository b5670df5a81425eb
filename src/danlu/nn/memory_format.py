"""The order in memory of the weights of convolutions, which changes speed and rounding."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


def fastest_format(device: torch.device) -> torch.memory_format:
    """The memory format that is usually faster for convolutions and pooling of images on a device.

    On a CPU it is channels-last, because the channels of a pixel are processed by one vector instruction. On a GPU it
    depends on the precision and on the sizes; torch's default is used.

    >>> fastest_format(torch.device("cpu"))
    torch.channels_last
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def set_format(module: _Module, memory_format: torch.memory_format) -> _Module:
    """Give all tensors of a module that have four dimensions a memory format.

    Images need no conversion: a convolution converts its input, and its output has the format of its weights. A module
    with a convolution for which torch has an error with channels last keeps the other format.

    Args:
        module: the module; it is modified.
        memory_format: ``torch.channels_last`` or ``torch.contiguous_format``.

    Returns:
        The module.

    >>> set_format(nn.Conv2d(3, 8, kernel_size=3), torch.channels_last).weight.stride()
    (27, 1, 9, 3)
    """
    if memory_format is torch.channels_last and any(map(_corrupts_memory, module.modules())):
        memory_format = torch.contiguous_format
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:  # weights of other convolutions have other formats
            # contiguous() would keep the strides of weights with one input channel, which belong to both formats
            tensor.data = tensor.data.to(memory_format=memory_format)
    return module


def _corrupts_memory(layer: nn.Module) -> bool:
    """Whether torch writes outside of the tensors of a layer with channels last: a strided 1×1 convolution of few
    channels, on a CPU with AVX2 (torch 2.13: the program ends in the backward pass)."""
    if not isinstance(layer, nn.Conv2d) or layer.kernel_size != (1, 1):
        return False
    return max(layer.stride) > 1 and layer.in_channels % 16 != 0


def place(module: _Module, device: torch.device) -> _Module:
    """Move a module to a device, with the memory format that is faster there.

    Args:
        module: the module; it is modified.
        device: the device.

    Returns:
        The module.

    >>> place(nn.Conv2d(3, 8, kernel_size=3), torch.device("cpu")).weight.stride()
    (27, 1, 9, 3)
    """
    return set_format(module.to(device), fastest_format(device))
