"""Inception-v3 of the Fréchet Inception Distance, with the parameter names of the public weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.models.base import Model
from danlu.models.saving.pretrained import check_convolutions, fill
from danlu.models.saving.weights_file import read_tensors
from danlu.nn.roles import output_layer
from danlu.storage.download import File, mismatch

WEIGHTS = File(
    "pt_inception-2015-12-05-6726825d.pth",
    95_628_359,
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
"""The public file: weights of TensorFlow's inception-2015-12-05, converted to PyTorch."""
MIRRORS = ("https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights",)
"""URLs from which the file can be downloaded."""
SIDE, FEATURES, CLASSES = 299, 2048, 1008

Window = int | tuple[int, int]
Convolution = tuple[int, Window]
"""Output channels and kernel size of a convolution."""
Step = Convolution | tuple[Convolution, Convolution]
"""One convolution, or two in parallel."""
Pool = Literal["mean", "max", "halve"]


class InceptionFID(Model):
    r"""Inception-v3 in the variant behind published Fréchet distances and Inception Scores.

    Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for computer vision", 2016, as
    in TensorFlow's frozen graph of December 2015: average pooling excludes padding, the last block uses max pooling
    instead of the average pooling of the paper, there are 1008 classes and no auxiliary classifier.

    Images of any size with values from 0 to 1 are resized to 299×299 by bilinear interpolation without antialiasing and
    scaled to the range -1 to 1, as in the PyTorch port of the weights. Gray images are repeated to three channels.
    Programs that resize differently compute different distances. The network is built in evaluation mode with random
    weights; ``from_pretrained`` loads the public weights.

    >>> net = InceptionFID()
    >>> sum(p.numel() for p in net.parameters())
    23850960
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2, padding=0)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, padding=0)
        self.Mixed_5b = _block_35(192, pooled=32)
        self.Mixed_5c = _block_35(256, pooled=64)
        self.Mixed_5d = _block_35(288, pooled=64)
        self.Mixed_6a = Mixed(288, {"branch3x3": [(384, 3)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)]}, "halve")
        self.Mixed_6b = _block_17(inner=128)
        self.Mixed_6c = _block_17(inner=160)
        self.Mixed_6d = _block_17(inner=160)
        self.Mixed_6e = _block_17(inner=192)
        halving = {"branch3x3": [(192, 1), (320, 3)], "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)]}
        self.Mixed_7a = Mixed(768, halving, "halve")
        self.Mixed_7b = _block_8(1280, "mean")
        self.Mixed_7c = _block_8(2048, "max")
        self.fc = output_layer(nn.Linear(FEATURES, CLASSES))
        self.eval()

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 2048"]:
        """The mean over positions of the output of the last block.

        Args:
            x: images with values from 0 to 1, (n, 1 or 3, height, width).

        Raises:
            ValueError: if images do not have one or three channels.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"images must be (n, 1 or 3, height, width), got {tuple(x.shape)}")
        x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        x = (2 * x - 1).expand(-1, 3, -1, -1)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_log_probs"})

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1008"]:
        """Logits: unnormalized log-probabilities of the classes."""
        return self.fc(self.features(x))

    def classify(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1008"]:
        """Probability of each class."""
        return self(x).softmax(dim=1)

    def class_log_probs(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1008"]:
        """Log-probability of each class."""
        return self(x).log_softmax(dim=1)

    @classmethod
    def from_pretrained(cls, path: str | Path, file: File = WEIGHTS) -> InceptionFID:
        """Load the network with the public weights, in evaluation mode. No code in the file is run.

        Args:
            path: the file ``pt_inception-2015-12-05-6726825d.pth``; ``danlu.storage.download.fetch`` downloads
                ``WEIGHTS`` from ``MIRRORS``.
            file: expected name, size and SHA-256 of the file.

        Raises:
            UsageError: if the file does not exist, or is a different file, because distances would not be comparable.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"{path} does not exist; download {file.name} from {MIRRORS[0]}")
        if problem := mismatch(path, file):
            raise UsageError(f"{path} is not the public {file.name}: {problem}; download it again from {MIRRORS[0]}")
        model, tensors, first = cls(), read_tensors(path), "Conv2d_1a_3x3.conv.weight"
        check_convolutions(tensors, (first,), f"{path} is not an Inception-v3")
        if missing := fill(model, tensors, path, first, head="fc"):
            raise UsageError(f"{path} has no {' and no '.join(missing)} for {CLASSES} classes")
        return model.eval()


class Unit(nn.Module):
    """A convolution without bias, batch norm with an epsilon of 0.001, and ReLU.

    Args:
        inputs: input channels.
        outputs: output channels.
        window: height and width of the kernel, or one number for both.
        stride: stride of the convolution.
        padding: zeros on each side of the input; None keeps the size for stride 1.
    """

    def __init__(self, inputs: int, outputs: int, window: Window, stride: int = 1, padding: int | None = None):
        super().__init__()
        height, width = (window, window) if isinstance(window, int) else window
        zeros = (height // 2, width // 2) if padding is None else (padding, padding)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, zeros, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d u v"]:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Parallel branches whose output channels are concatenated. The last branch is a pooling.

    Args:
        inputs: input channels.
        branches: the steps of each branch by its name in the public weights. Step 2 of a branch with several steps is
            named ``…_2``; two parallel convolutions are ``…_2a`` and ``…_2b``.
        pool: "mean" for 3×3 average pooling without padding values, "max" for 3×3 max pooling, or "halve" for max
            pooling with stride 2; the last convolution of each branch then also has stride 2 and no padding.
        pooled: channels of the convolution after the pooling; 0 for none.
    """

    def __init__(self, inputs: int, branches: Mapping[str, Sequence[Step]], pool: Pool, pooled: int = 0):
        super().__init__()
        self.pool = pool
        self.branches: list[list[tuple[str, ...]]] = []
        for branch, steps in branches.items():
            names, channels = [], inputs
            for number, step in enumerate(steps, start=1):
                name = branch if len(steps) == 1 else f"{branch}_{number}"
                is_strided = pool == "halve" and number == len(steps)
                sides = {name + side: part for side, part in _sides(step).items()}
                for unit_name, (outputs, window) in sides.items():
                    unit = Unit(channels, outputs, window, *((2, 0) if is_strided else ()))
                    self.add_module(unit_name, unit)
                names.append(tuple(sides))
                channels = sum(outputs for outputs, _ in sides.values())
            self.branches.append(names)
        self.branch_pool = Unit(inputs, pooled, 1) if pooled else nn.Identity()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d u v"]:
        outputs = []
        for branch in self.branches:
            h = x
            for names in branch:
                h = torch.cat([self.get_submodule(name)(h) for name in names], dim=1)
            outputs.append(h)
        return torch.cat([*outputs, self.branch_pool(self._pooled(x))], dim=1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "mean":
            return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return F.max_pool2d(x, 3, *((2, 0) if self.pool == "halve" else (1, 1)))


def _sides(step: Step) -> dict[str, Convolution]:
    """The convolutions of a step by the suffix of their names."""
    first, second = step
    if isinstance(first, tuple) and isinstance(second, tuple):
        return {"a": first, "b": second}
    return {"": step}  # type: ignore[dict-item]


def _block_35(inputs: int, pooled: int) -> Mixed:
    """A block for 35×35 feature maps."""
    branches = {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
    }
    return Mixed(inputs, branches, "mean", pooled)


def _block_17(inner: int) -> Mixed:
    """A block for 17×17 feature maps, with kernels of 1×7 and 7×1."""
    row, column = (1, 7), (7, 1)
    branches = {
        "branch1x1": [(192, 1)],
        "branch7x7": [(inner, 1), (inner, row), (192, column)],
        "branch7x7dbl": [(inner, 1), (inner, column), (inner, row), (inner, column), (192, row)],
    }
    return Mixed(768, branches, "mean", 192)


def _block_8(inputs: int, pool: Pool) -> Mixed:
    """A block for 8×8 feature maps, whose branches end in parallel kernels of 1×3 and 3×1."""
    parallel = ((384, (1, 3)), (384, (3, 1)))
    branches = {
        "branch1x1": [(320, 1)],
        "branch3x3": [(384, 1), parallel],
        "branch3x3dbl": [(448, 1), (384, 3), parallel],
    }
    return Mixed(inputs, branches, pool, 192)
