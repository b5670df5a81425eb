"""The residual network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from jaxtyping import Float
from torch import Tensor, nn

from danlu.models.base import Model
from danlu.models.saving.pretrained import (
    Renames,
    build_and_fill,
    check_convolutions,
    classes_in,
    distinct,
    renamed,
)
from danlu.models.saving.weights_file import own_arguments, read_tensors
from danlu.nn.activations import Activation
from danlu.nn.conv.he_init import he_normal
from danlu.nn.conv.residual import (
    EXPANSION,
    BlockName,
    NotesBlock,
    PreactivationBlock,
    ResidualBlock,
    ShortcutName,
    conv,
    convolutions,
    inplace_activation,
    shortcut,
)
from danlu.nn.dense import check_width, check_widths
from danlu.nn.roles import output_layer

Size = Literal[18, 34, 50, 101, 152, 20, 32, 44, 56, 110, 164, 1001, "notes"]
Stem = Literal["7x7", "3x3", "3x3 pool"]


class Form(NamedTuple):
    """Configuration of a published network."""

    block: BlockName
    blocks: tuple[int, ...]
    width: int
    stem: Stem
    shortcut: ShortcutName
    pool: bool = True


SIZES: dict[Size, Form] = {
    18: Form("basic", (2, 2, 2, 2), 64, "7x7", "projection"),
    34: Form("basic", (3, 4, 6, 3), 64, "7x7", "projection"),
    50: Form("bottleneck", (3, 4, 6, 3), 64, "7x7", "projection"),
    101: Form("bottleneck", (3, 4, 23, 3), 64, "7x7", "projection"),
    152: Form("bottleneck", (3, 8, 36, 3), 64, "7x7", "projection"),
    20: Form("basic", (3, 3, 3), 16, "3x3", "padding"),
    32: Form("basic", (5, 5, 5), 16, "3x3", "padding"),
    44: Form("basic", (7, 7, 7), 16, "3x3", "padding"),
    56: Form("basic", (9, 9, 9), 16, "3x3", "padding"),
    110: Form("basic", (18, 18, 18), 16, "3x3", "padding"),
    164: Form("bottleneck", (18, 18, 18), 16, "3x3", "projection"),
    1001: Form("bottleneck", (111, 111, 111), 16, "3x3", "projection"),
    "notes": Form("notes", (2,), 32, "3x3", "padding", pool=False),
}


class ResNet(Model):
    r"""A classifier of residual blocks, which add a residual to their input.

    .. math:: x_{l+1} = \sigma(S(x_l) + F_l(x_l)), \qquad \text{logits} = W \, \operatorname{mean}_{ij}(x_L) + b

    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016: table 1 for ImageNet (sizes 18, 34,
    50, 101, 152) and section 4.2 for CIFAR-10 (20, 32, 44, 56, 110). Sizes 164 and 1001 are of their "Identity mappings
    in deep residual networks", 2016, for use with ``preactivation=True``. ``ResNet((1, 28, 28), 10, "notes")`` is the
    network of the notes, section 1.5. A size selects a complete configuration; the arguments after it replace parts of
    it: ``ResNet(shape, 10, 18, stem="3x3")``, or ``ResNet(shape, 10, blocks=(2, 2, 2), width=32)`` for a custom one.

    Weights are initialized as in the published code of the papers (``he_normal``), for "notes" as in PyTorch. The state
    dict has the public parameter names: ``conv1``, ``bn1``, ``layer1.0.conv1``, …, ``fc``.

    Args:
        shape: (channels, height, width) of one image.
        classes: number of classes.
        size: number of layers of a published network, or "notes". None for a custom network: size 20 with the parts
            given by the other arguments.
        blocks: number of blocks in each stage; empty for the value of the size. Each stage after the first halves
            height and width and doubles the channels.
        width: channels of the first stage, inside its blocks.
        block: "basic" (two convolutions of 3×3), "bottleneck" (1×1, 3×3, 1×1), or "notes" (without normalization).
        stem: "7x7" is a 7×7 convolution with stride 2 and max pooling, "3x3" a 3×3 convolution that keeps the size,
            "3x3 pool" the same with max pooling, which halves the size.
        shortcut: shortcut where sizes change: "padding" (option A) or "projection" (option B). "none" removes all
            shortcuts, which gives a plain network.
        pool: average over positions before the last layer; otherwise the last layer gets all positions.
        preactivation: normalization and activation before each convolution.
        stride_first: stride of a bottleneck in its first 1×1 convolution, as in the paper, instead of the 3×3
            convolution, as in the public weights.
        zero_init: initialize the weights of the last normalization of each block to 0, so the block is the identity
            (Goyal et al., "Accurate, large minibatch SGD", 2017, section 5.1).
        activation: activation function σ.

    Attributes:
        features_shape: (channels, height, width) after the last block.
        fresh: names of the parameters that ``from_pretrained`` did not find in the file.

    Raises:
        ValueError: if the image is too small for the stages, or an argument is out of range.

    >>> net = ResNet(shape=(3, 32, 32), classes=10, size=20)
    >>> sum(p.numel() for p in net.parameters())
    269722
    >>> net(torch.zeros(2, 3, 32, 32)).shape, net.encode(torch.zeros(2, 3, 32, 32)).shape
    (torch.Size([2, 10]), torch.Size([2, 64]))
    """

    fresh: tuple[str, ...] = ()

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        size: Size | None = 20,
        blocks: Sequence[int] = (),
        width: int | None = None,
        block: BlockName | None = None,
        stem: Stem | None = None,
        shortcut: ShortcutName | None = None,
        pool: bool | None = None,
        preactivation: bool = False,
        stride_first: bool = False,
        zero_init: bool = False,
        activation: Activation = "relu",
    ):
        super().__init__()
        parts = {"block": block, "blocks": tuple(blocks) or None, "width": width, "stem": stem}
        form = _form(size, {**parts, "shortcut": shortcut, "pool": pool})
        check_width("classes", classes)
        _check(form, preactivation, stride_first, zero_init)
        self.features_shape = _features_shape(form, shape)
        depth = self.features_shape[0]
        has_norm = form.block != "notes"

        if form.stem == "7x7":
            self.conv1 = conv(shape[0], form.width, 7, stride=2, bias=not has_norm)
        else:
            self.conv1 = conv(shape[0], form.width, 3, bias=not has_norm)
        self.bn1 = nn.BatchNorm2d(form.width) if has_norm else nn.Identity()
        self.activation = inplace_activation(activation)
        self.maxpool = _pooling(form.stem)
        self.stages = [f"layer{number + 1}" for number in range(len(form.blocks))]
        for number, name in enumerate(self.stages):
            self.add_module(name, _stage(form, number, preactivation, stride_first, activation))
        self.norm = nn.BatchNorm2d(depth) if preactivation else None
        self.pool = nn.AdaptiveAvgPool2d(1) if form.pool else nn.Identity()
        self.fc = output_layer(nn.Linear(depth if form.pool else math.prod(self.features_shape), classes))

        if has_norm:
            he_normal(self)
        for module in self.modules() if zero_init else ():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.last_norm().weight)

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_log_probs"})

    def encode(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The features of each image before the last layer."""
        x = self.maxpool(self.activation(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        if self.norm is not None:
            x = self.activation(self.norm(x))
        return self.pool(x).flatten(1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits: unnormalized log-probabilities of the classes."""
        return self.fc(self.encode(x))

    def classify(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Probability of each class."""
        return self(x).softmax(dim=1)

    def class_log_probs(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Log-probability of each class."""
        return self(x).log_softmax(dim=1)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        shape: Sequence[int] = (3, 224, 224),
        classes: int | None = None,
        stride_first: bool = False,
    ) -> ResNet:
        """Load a network with public weights, in evaluation mode. The size is derived from the file.

        Supported are files of torchvision (a state dict: .pth or .safetensors) and of transformers (model.safetensors
        or pytorch_model.bin, or their folder), and exports and model folders of danlu. A plain ``state_dict()`` has
        only names and shapes; the network is then assumed to use ReLU, and max pooling after a 7×7 stem.
        Pickles are read only if this needs no code from the file. For a different number of classes the last layer is
        new. For a different number of channels the first convolution is adapted with
        ``danlu.models.saving.pretrained.spread_channels``. Public weights expect inputs as in their training: usually
        colors from 0 to 1, minus the mean (0.485, 0.456, 0.406), divided by the standard deviation (0.229, 0.224,
        0.225) of each channel.

        Args:
            path: the file, or the folder that contains it.
            shape: (channels, height, width) of one image.
            classes: number of classes; None for the number in the file.
            stride_first: as in the constructor; it cannot be derived from the file.

        Raises:
            UsageError: if the file does not exist, has no state dict, or has the weights of a different network.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(ResNet((3, 32, 32), 10, size=20).state_dict(), f"{folder}/resnet20.pth")
        ...     net = ResNet.from_pretrained(f"{folder}/resnet20.pth", shape=(1, 28, 28), classes=4)
        >>> net.arguments["size"], net.conv1.in_channels, net.fresh
        (20, 1, ('fc.weight', 'fc.bias'))
        """
        tensors = renamed(read_tensors(path), TRANSFORMERS)
        check_convolutions(tensors, ("conv1.weight", "layer1.0.conv1.weight"), f"{path} is not a ResNet")
        classes = classes_in(tensors, "fc.weight", path) if classes is None else classes
        arguments = {**_arguments(path, tensors, stride_first), "shape": shape, "classes": classes}
        model, model.fresh = build_and_fill(lambda: cls(**arguments), tensors, path, first="conv1.weight", head="fc")
        return model.eval()


# From the parameter names of transformers to the public names, those of torchvision

_BLOCK = r"^(?:resnet\.)?encoder\.stages\.(\d+)\.layers\.(\d+)\."
TRANSFORMERS: Renames = {
    r"^(?:resnet\.)?embedder\.embedder\.convolution\.": "conv1.",
    r"^(?:resnet\.)?embedder\.embedder\.normalization\.": "bn1.",
    _BLOCK + r"layer\.(\d+)\.convolution\.": lambda m: f"layer{int(m[1]) + 1}.{m[2]}.conv{int(m[3]) + 1}.",
    _BLOCK + r"layer\.(\d+)\.normalization\.": lambda m: f"layer{int(m[1]) + 1}.{m[2]}.bn{int(m[3]) + 1}.",
    _BLOCK + r"shortcut\.convolution\.": lambda m: f"layer{int(m[1]) + 1}.{m[2]}.downsample.0.",
    _BLOCK + r"shortcut\.normalization\.": lambda m: f"layer{int(m[1]) + 1}.{m[2]}.downsample.1.",
    r"^classifier\.1\.": "fc.",
}


def _form(size: Size | None, parts: dict[str, object]) -> Form:
    """The configuration of a size, with the given parts replaced."""
    if size is None:
        size = 20
    if size not in SIZES:
        raise ValueError(
            f"size={size!r} must be one of {', '.join(map(str, SIZES))}; for other networks give blocks and width"
        )
    return SIZES[size]._replace(**{name: value for name, value in parts.items() if value is not None})


def _check(form: Form, preactivation: bool, stride_first: bool, zero_init: bool) -> None:
    check_widths("blocks", form.blocks)
    check_width("width", form.width)
    for name, value, allowed in (
        ("block", form.block, get_args(BlockName)),
        ("stem", form.stem, get_args(Stem)),
        ("shortcut", form.shortcut, get_args(ShortcutName)),
    ):
        if value not in allowed:
            raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(allowed)}")
    if stride_first and form.block != "bottleneck":
        raise ValueError(f"stride_first is for block='bottleneck', got block={form.block!r}; leave it out")
    if preactivation and form.block == "notes":
        raise ValueError("preactivation needs blocks with normalization, and block='notes' has none")
    if zero_init and (preactivation or form.block == "notes" or form.shortcut == "none"):
        raise ValueError(
            "zero_init is for blocks that end in a normalization and have a shortcut; "
            "leave it out with preactivation, with block='notes' and with shortcut='none'"
        )


def _features_shape(form: Form, shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, height, width) after the last stage."""
    if len(shape) != 3:
        raise ValueError(f"shape={tuple(shape)} must be (channels, height, width): a ResNet takes images")
    check_widths("shape", shape)
    height, width = (_side(form, n) for n in shape[1:])
    if not height or not width:
        minimum = next(n for n in count(1) if _side(form, n))
        hint = "stem='3x3' or fewer stages in blocks" if form.stem != "3x3" else "fewer stages in blocks"
        raise ValueError(
            f"an image of {shape[1]}×{shape[2]} is too small: "
            f"this network needs at least {minimum}×{minimum}; resize the images, or use {hint}"
        )
    depth = form.width * 2 ** (len(form.blocks) - 1) * EXPANSION[form.block]
    return depth, height, width


def _pooling(stem: Stem) -> nn.Module:
    if stem == "3x3":
        return nn.Identity()
    return nn.MaxPool2d(3, stride=2, padding=1) if stem == "7x7" else nn.MaxPool2d(2, ceil_mode=True)


def _side(form: Form, n: int) -> int | None:
    """Height or width after the last stage, or None if a single position would have to be halved."""
    for _ in range({"7x7": 2, "3x3": 0, "3x3 pool": 1}[form.stem] + len(form.blocks) - 1):
        if n < 2:
            return None
        n = (n + 1) // 2
    return n


def _stage(form: Form, number: int, preactivation: bool, stride_first: bool, activation: Activation) -> nn.Sequential:
    width = form.width * 2**number
    outputs = width * EXPANSION[form.block]
    inputs = outputs // 2 if number else form.width
    stage = nn.Sequential()
    for index in range(form.blocks[number]):
        stride = 2 if number and index == 0 else 1
        layers = convolutions(form.block, inputs, width, stride, stride_first)
        has_norm = form.block != "notes" and not preactivation
        shortcut_layer = shortcut(form.shortcut, inputs, outputs, stride, norm=has_norm)
        if preactivation:
            stage.append(PreactivationBlock(layers, shortcut_layer, activation, first=number == index == 0))
        else:
            stage.append((ResidualBlock if has_norm else NotesBlock)(layers, shortcut_layer, activation))
        inputs = outputs
    return stage


def _arguments(path: str | Path, tensors: Mapping[str, Tensor], stride_first: bool) -> dict[str, Any]:
    """Constructor arguments: those stored with the weights if danlu wrote them, else derived from the weights."""
    if (stored := own_arguments(path, "ResNet")) is not None:
        return stored
    form = _form_in(tensors)
    size = next((size for size, published in SIZES.items() if published == form), None)
    parts: dict[str, Any] = {"size": size} if size else form._asdict()
    return {**parts, "preactivation": "norm.weight" in tensors, "stride_first": stride_first}


def _form_in(tensors: Mapping[str, Tensor]) -> Form:
    """The configuration derived from names and shapes of the tensors."""
    blocks = (distinct(rf"layer{number}\.(\d+)\.", tensors) for number in count(1))
    return Form(
        block="bottleneck" if "layer1.0.conv3.weight" in tensors else "basic",
        blocks=tuple(takewhile(bool, blocks)),
        width=len(tensors["layer1.0.conv1.weight"]),
        stem="7x7" if tensors["conv1.weight"].shape[-1] == 7 else "3x3",
        shortcut="projection" if any(".downsample." in name for name in tensors) else "padding",
    )
