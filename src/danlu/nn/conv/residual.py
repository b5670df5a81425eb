"""Residual blocks and shortcuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.nn.activations import Activation
from danlu.nn.activations import activation as activation_named

BlockName = Literal["basic", "bottleneck", "notes"]
ShortcutName = Literal["padding", "projection", "none"]
EXPANSION: dict[BlockName, int] = {"basic": 1, "bottleneck": 4, "notes": 1}


class ResidualBlock(nn.Module):
    r"""Convolutions with batch normalization; the input is added before the last activation.

    .. math:: y = \sigma(S(x) + F(x)), \qquad F = N_k W_k \, \sigma \cdots \sigma \, N_1 W_1

    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, equations 1 and 2 and figure 5.

    Args:
        convolutions: the maps W in order.
        shortcut: the map S, or None for a plain block, which adds nothing.
        activation: the function σ.

    >>> block = ResidualBlock(convolutions("basic", 4, 4), nn.Identity(), "relu")
    >>> block(torch.zeros(2, 4, 8, 8)).shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(self, convolutions: Sequence[nn.Conv2d], shortcut: nn.Module | None, activation: Activation):
        super().__init__()
        self.depth = len(convolutions)
        for number, convolution in enumerate(convolutions, 1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(convolution.out_channels))
        self.activation = inplace_activation(activation)
        self.downsample = shortcut

    def last_norm(self) -> nn.BatchNorm2d:
        """The normalization N_k; if its weights are 0, the block is the identity before the last activation."""
        return self.get_submodule(f"bn{self.depth}")  # type: ignore[return-value]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        out = x
        for number in range(1, self.depth + 1):
            out = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(out))
            if number < self.depth:
                out = self.activation(out)
        if self.downsample is not None:
            out += self.downsample(x)  # in place: backward does not need the output of a normalization
        return self.activation(out)


class PreactivationBlock(nn.Module):
    r"""Residual block with normalization and activation before each convolution; the sum is not activated.

    .. math:: y = S(x) + F(x), \qquad F = W_k \, \sigma N_k \cdots W_1 \, \sigma N_1

    He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016, figure 1b. A shortcut with weights
    takes :math:`\sigma(N_1(x))` instead of x. The first block of a network has no N₁ and σ: there they follow the first
    convolution and act on both branches (the paper's appendix, and the code published with it).

    Args:
        convolutions: the maps W in order.
        shortcut: the map S, or None for a plain block, which adds nothing.
        activation: the function σ.
        first: whether the input is already normalized and activated.

    >>> block = PreactivationBlock(convolutions("bottleneck", 8, 2), nn.Identity(), "relu")
    >>> block(torch.zeros(2, 8, 4, 4)).shape
    torch.Size([2, 8, 4, 4])
    """

    def __init__(
        self,
        convolutions: Sequence[nn.Conv2d],
        shortcut: nn.Module | None,
        activation: Activation,
        first: bool = False,
    ):
        super().__init__()
        self.depth = len(convolutions)
        for number, convolution in enumerate(convolutions, 1):
            if number > 1 or not first:
                self.add_module(f"bn{number}", nn.BatchNorm2d(convolution.in_channels))
            self.add_module(f"conv{number}", convolution)
        self.activation = inplace_activation(activation)
        self.downsample = shortcut
        self.projects = shortcut is not None and any(True for _ in shortcut.parameters())

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        out = activated = x
        for number in range(1, self.depth + 1):
            if hasattr(self, f"bn{number}"):
                out = self.activation(getattr(self, f"bn{number}")(out))
            if number == 1:
                activated = out
            out = getattr(self, f"conv{number}")(out)
        if self.downsample is not None:
            out += self.downsample(activated if self.projects else x)
        return out


class NotesBlock(nn.Module):
    r"""The residual block of the lecture notes, section 1.5: no normalization, and the sum is not activated.

    .. math:: y = S(x) + \sigma(W_2 \, \sigma(W_1 x + b_1) + b_2)

    Args:
        convolutions: the two maps W with their biases.
        shortcut: the map S, or None for a plain block, which adds nothing.
        activation: the function σ.

    >>> NotesBlock(convolutions("notes", 4, 4), nn.Identity(), "relu")(torch.zeros(2, 4, 8, 8)).shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(self, convolutions: Sequence[nn.Conv2d], shortcut: nn.Module | None, activation: Activation):
        super().__init__()
        self.conv1, self.conv2 = convolutions
        self.activation = inplace_activation(activation)
        self.downsample = shortcut

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        out = self.activation(self.conv2(self.activation(self.conv1(x))))
        return out if self.downsample is None else self.downsample(x) + out


class PaddedShortcut(nn.Module):
    """Shortcut without weights for a change of size: every s-th position, with channels of zeros appended.

    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, section 4.1, option A.

    Args:
        stride: the stride s.
        channels: number of channels appended.

    >>> PaddedShortcut(stride=2, channels=1)(torch.ones(1, 1, 3, 3)).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, stride: int, channels: int):
        super().__init__()
        self.stride, self.channels = stride, channels

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.channels))


def convolutions(
    block: BlockName, inputs: int, width: int, stride: int = 1, stride_first: bool = False
) -> list[nn.Conv2d]:
    """The convolutions of a block: two of 3×3, or 1×1, 3×3 and 1×1 with four times the channels.

    Args:
        block: type of block.
        inputs: input channels.
        width: channels inside the block; a bottleneck has 4 × width output channels.
        stride: stride of the block.
        stride_first: put the stride of a bottleneck in its first convolution instead of the 3×3 one.

    >>> [(c.kernel_size[0], c.out_channels, c.stride[0]) for c in convolutions("bottleneck", 64, 64, stride=2)]
    [(1, 64, 1), (3, 64, 2), (1, 256, 1)]
    """
    if block == "bottleneck":
        first, second = (stride, 1) if stride_first else (1, stride)
        outputs = width * EXPANSION[block]
        return [conv(inputs, width, 1, first), conv(width, width, 3, second), conv(width, outputs, 1)]
    bias = block == "notes"
    return [conv(inputs, width, 3, stride, bias), conv(width, width, 3, bias=bias)]


def shortcut(name: ShortcutName, inputs: int, outputs: int, stride: int = 1, norm: bool = True) -> nn.Module | None:
    """The shortcut around a block: the identity if the sizes allow it.

    Args:
        name: where sizes change, "padding" (option A of the paper) or "projection" by a 1×1 convolution (option B);
            "none" for no shortcut.
        inputs: input channels.
        outputs: output channels of the block.
        stride: stride of the block.
        norm: whether to normalize the projection.

    >>> shortcut("projection", 8, 8), shortcut("none", 8, 8)
    (Identity(), None)
    """
    if name == "none":
        return None
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if name == "padding":
        return PaddedShortcut(stride, outputs - inputs)
    projection = conv(inputs, outputs, 1, stride)
    return nn.Sequential(projection, nn.BatchNorm2d(outputs)) if norm else nn.Sequential(projection)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution with padding that keeps height and width, except for the stride.

    >>> conv(1, 2, 3)(torch.zeros(1, 1, 5, 5)).shape
    torch.Size([1, 2, 5, 5])
    """
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)


def inplace_activation(name: Activation) -> nn.Module:
    """An activation that may overwrite its input, for inputs that nothing else reads: ReLU works in place.

    >>> inplace_activation("relu"), inplace_activation("tanh")
    (ReLU(inplace=True), Tanh())
    """
    return nn.ReLU(inplace=True) if name == "relu" else activation_named(name)
