"""The densely connected network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils import checkpoint as checkpointing

from danlu.models.base import Model
from danlu.models.classify.densenet_sizes import (
    Form,
    Layer,
    Size,
    Stem,
    channels_kept,
    check_form,
    make_form,
    output_sides,
)
from danlu.models.classify.densenet_weights import STEM, arguments_in, read_weights
from danlu.models.saving.pretrained import build_and_fill, classes_in
from danlu.nn.activations import Activation
from danlu.nn.conv.he_init import he_normal
from danlu.nn.conv.residual import conv, inplace_activation
from danlu.nn.dense import check_dropout, check_width
from danlu.nn.roles import output_layer


class DenseNet(Model):
    r"""A classifier in which the input of each layer is the output of all previous layers of its block.

    .. math:: x_l = H_l([x_0, x_1, \dots, x_{l-1}])

    Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017: equation 2, table 1 for
    ImageNet (sizes 121, 161, 169, 201), and table 2 for CIFAR: DenseNet-BC with 100 layers and k = 12, 250 and k = 24,
    190 and k = 40; and 40 layers with k = 12, without bottlenecks and compression. A size selects a complete
    configuration; the arguments after it, up to ``pool``, replace parts of it. ``DenseNet((1, 28, 28), 10, "notes")``
    is the network of the notes, section 1.5; its second transition has 128 input channels (with 96, as in the notes, it
    fails).

    Weights are initialized as in the published code of the paper (``he_normal``), for "notes" as in PyTorch. The state
    dict has the public parameter names: ``features.conv0``, ``features.denseblock1.denselayer1.norm1``, …,
    ``classifier``.

    Args:
        shape: (channels, height, width) of one image.
        classes: number of classes.
        size: number of layers of a published network, or "notes". None for a custom network: size 100 with the parts
            given by the other arguments.
        blocks: number of layers in each dense block; empty for the value of the size. A transition between two blocks
            halves height and width.
        growth: number k of channels that each layer adds.
        width: channels of the first convolution.
        layer: H is norm, activation and 3×3 convolution ("basic"), the same after norm, activation and 1×1
            convolution ("bottleneck"), or 3×3 convolution and activation ("notes").
        stem: "7x7" is a 7×7 convolution with stride 2 and max pooling, "3x3" a 3×3 convolution that keeps the size.
        compression: fraction θ of its channels that a transition keeps; a transition of "notes" outputs 2k channels.
        bottleneck: channels after the 1×1 convolution of a bottleneck, in multiples of k.
        pool: average over positions before the last layer; otherwise the last layer gets all positions.
        activation: activation function after each norm.
        dropout: fraction of entries that are set to zero after each convolution but the first during training.
        checkpoint: recompute concatenations in the backward pass instead of storing them: less memory, more time.

    Attributes:
        features_shape: (channels, height, width) after the last block.
        fresh: names of the parameters that ``from_pretrained`` did not find in the file.

    Raises:
        ValueError: if the image is too small for the transitions, or an argument is out of range.

    >>> net = DenseNet(shape=(3, 32, 32), classes=10, size=100)
    >>> sum(p.numel() for p in net.parameters())
    769162
    >>> net.eval()(torch.zeros(1, 3, 32, 32)).shape, net.encode(torch.zeros(1, 3, 32, 32)).shape
    (torch.Size([1, 10]), torch.Size([1, 342]))
    """

    fresh: tuple[str, ...] = ()

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        size: Size | None = 100,
        blocks: Sequence[int] = (),
        growth: int | None = None,
        width: int | None = None,
        layer: Layer | None = None,
        stem: Stem | None = None,
        compression: float | None = None,
        bottleneck: int | None = None,
        pool: bool | None = None,
        activation: Activation = "relu",
        dropout: float = 0.0,
        checkpoint: bool = False,
    ):
        super().__init__()
        parts = {"blocks": tuple(blocks) or None, "growth": growth, "width": width, "layer": layer, "stem": stem}
        form = make_form(size, {**parts, "compression": compression, "bottleneck": bottleneck, "pool": pool})
        check_width("classes", classes)
        check_dropout(dropout)
        check_form(form)
        height, width_ = output_sides(form, shape)

        self.features = _stem(form, shape[0], activation)
        depth = form.width
        for number, layers in enumerate(form.blocks, 1):
            block = DenseBlock(form, depth, layers, activation, dropout, checkpoint)
            self.features.add_module(f"denseblock{number}", block)
            depth += layers * form.growth
            if number < len(form.blocks) or form.layer == "notes":
                outputs = channels_kept(form, depth)
                self.features.add_module(f"transition{number}", _transition(form, depth, outputs, activation, dropout))
                depth = outputs
        if form.layer != "notes":
            self.features.add_module("norm5", nn.BatchNorm2d(depth))
            self.features.add_module("relu5", inplace_activation(activation))
        self.features_shape = (depth, height, width_)
        self.pool = nn.AdaptiveAvgPool2d(1) if form.pool else nn.Identity()
        features = depth if form.pool else math.prod(self.features_shape)
        self.classifier = output_layer(nn.Linear(features, classes))
        if form.layer != "notes":
            he_normal(self)

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"class_log_probs"})

    def encode(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The features of each image before the last layer."""
        return self.pool(self.features(x)).flatten(1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits: unnormalized log-probabilities of the classes."""
        return self.classifier(self.encode(x))

    def classify(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Probability of each class."""
        return self(x).softmax(dim=1)

    def class_log_probs(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Log-probability of each class."""
        return self(x).log_softmax(dim=1)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, shape: Sequence[int] = (3, 224, 224), classes: int | None = None
    ) -> DenseNet:
        """Load a network with public weights, in evaluation mode. The size is derived from the file.

        Supported are files of torchvision (a state dict: .pth or .safetensors), also with the older names ``norm.1``,
        and exports and model folders of danlu. A plain ``state_dict()`` has only names and shapes; the network is then
        assumed to use ReLU. Pickles are read only if this needs no code from the file. For a different number of
        classes the last layer is new. For a different number of channels the first convolution is adapted with
        ``danlu.models.saving.pretrained.spread_channels``. Public weights expect inputs as in their training: usually
        colors from 0 to 1, minus the mean (0.485, 0.456, 0.406), divided by the standard deviation (0.229, 0.224,
        0.225) of each channel.

        Args:
            path: the file, or the folder that contains it.
            shape: (channels, height, width) of one image.
            classes: number of classes; None for the number in the file.

        Raises:
            UsageError: if the file does not exist, has no state dict, or has the weights of a different network.

        >>> from tempfile import TemporaryDirectory
        >>> small = DenseNet((3, 32, 32), 10, blocks=(2, 2), growth=4, width=8)
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(small.state_dict(), f"{folder}/densenet.pth")
        ...     net = DenseNet.from_pretrained(f"{folder}/densenet.pth", shape=(1, 28, 28))
        >>> net.arguments["blocks"], net.arguments["growth"], net.fresh
        ((2, 2), 4, ())
        """
        tensors = read_weights(path)
        classes = classes_in(tensors, "classifier.weight", path) if classes is None else classes
        arguments = {**arguments_in(path, tensors), "shape": shape, "classes": classes}
        model, model.fresh = build_and_fill(lambda: cls(**arguments), tensors, path, first=STEM, head="classifier")
        return model.eval()


class DenseBlock(nn.Module):
    """Layers that each add k channels to those before.

    Outputs are kept in a list and concatenated inside each layer, so checkpointing need not store concatenations.

    Args:
        form: configuration of the network.
        inputs: input channels.
        layers: number of layers.
        activation: activation function after each norm.
        dropout: fraction of entries that are set to zero after each convolution.
        checkpoint: recompute concatenations in the backward pass.
    """

    def __init__(self, form: Form, inputs: int, layers: int, activation: Activation, dropout: float, checkpoint: bool):
        super().__init__()
        for number in range(layers):
            depth = inputs + number * form.growth
            if form.layer == "notes":
                layer = NotesLayer(depth, form.growth, activation, dropout)
            else:
                inner = form.bottleneck * form.growth if form.layer == "bottleneck" else None
                layer = DenseLayer(depth, form.growth, inner, activation, dropout, checkpoint)
            self.add_module(f"denselayer{number + 1}", layer)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        features = [x]
        for layer in self.children():
            features.append(layer(features))
        return torch.cat(features, 1)


class DenseLayer(nn.Module):
    """Norm, activation and 3×3 convolution of all previous outputs; a bottleneck has a 1×1 convolution before.

    Args:
        inputs: number of channels of all previous outputs.
        growth: output channels.
        inner: channels after the 1×1 convolution, or None for a layer without one.
        activation: activation function after each norm.
        dropout: fraction of entries that are set to zero after each convolution.
        checkpoint: recompute everything up to the first convolution in the backward pass.
    """

    def __init__(
        self, inputs: int, growth: int, inner: int | None, activation: Activation, dropout: float, checkpoint: bool
    ):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, inner, 1) if inner else conv(inputs, growth, 3)
        self.norm2 = nn.BatchNorm2d(inner) if inner else None
        self.conv2 = conv(inner, growth, 3) if inner else None
        self.activation = inplace_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.checkpoint = checkpoint

    def forward(self, features: list[Tensor]) -> Tensor:
        keep = not self.checkpoint or not torch.is_grad_enabled()
        out = self.dropout(self.join(*features) if keep else self._join_again(features))
        if self.norm2 is not None and self.conv2 is not None:
            out = self.dropout(self.conv2(self.activation(self.norm2(out))))
        return out

    def join(self, *features: Tensor) -> Tensor:
        """Concatenate all previous outputs and apply the first convolution."""
        return self.conv1(self.activation(self.norm1(torch.cat(features, 1))))

    def _join_again(self, features: list[Tensor]) -> Tensor:
        """The same, recomputed in the backward pass."""
        more: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        if not torch.compiler.is_compiling():  # compiled code updates running statistics only once
            more["context_fn"] = self._contexts
        return checkpointing.checkpoint(self.join, *features, **more)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _resting(self.norm1)


class NotesLayer(nn.Module):
    """The layer of the notes: 3×3 convolution and activation of all previous outputs.

    Args:
        inputs: number of channels of all previous outputs.
        growth: output channels.
        activation: activation function after the convolution.
        dropout: fraction of entries that are set to zero after it.
    """

    def __init__(self, inputs: int, growth: int, activation: Activation, dropout: float):
        super().__init__()
        self.conv1 = conv(inputs, growth, 3, bias=True)
        self.activation = inplace_activation(activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.dropout(self.activation(self.conv1(torch.cat(features, 1))))


@contextmanager
def _resting(norm: nn.BatchNorm2d) -> Iterator[None]:
    """Keep running statistics, already updated by this batch, unchanged while a layer is recomputed."""
    kept = dict(norm.named_buffers())
    try:
        for name, buffer in kept.items():
            setattr(norm, name, buffer.clone())  # checkpointing requires the same number of saved tensors
        yield
    finally:
        for name, buffer in kept.items():
            setattr(norm, name, buffer)


def _stem(form: Form, channels: int, activation: Activation) -> nn.Sequential:
    """The first convolution. For CIFAR nothing follows it, because every layer starts with a norm."""
    stem = nn.Sequential()
    notes = form.layer == "notes"
    if form.stem == "7x7":
        stem.add_module("conv0", conv(channels, form.width, 7, stride=2, bias=notes))
    else:
        stem.add_module("conv0", conv(channels, form.width, 3, bias=notes))
    if form.stem == "7x7" and not notes:
        stem.add_module("norm0", nn.BatchNorm2d(form.width))
    if form.stem == "7x7" or notes:
        stem.add_module("relu0", inplace_activation(activation))
    if form.stem == "7x7":
        stem.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
    return stem


def _transition(form: Form, inputs: int, outputs: int, activation: Activation, dropout: float) -> nn.Sequential:
    """The layers between two blocks, which reduce the channels and halve height and width."""
    transition = nn.Sequential()
    if form.layer == "notes":
        transition.add_module("conv", conv(inputs, outputs, 1, bias=True))
        transition.add_module("relu", inplace_activation(activation))
    else:
        transition.add_module("norm", nn.BatchNorm2d(inputs))
        transition.add_module("relu", inplace_activation(activation))
        transition.add_module("conv", conv(inputs, outputs, 1))
    transition.add_module("dropout", nn.Dropout(dropout))
    transition.add_module("pool", nn.AvgPool2d(2))
    return transition
