"""Features for scores of generated examples: the features of a network, or the columns of a table.

A score depends on its features, so its name has the features, the number of examples and the reference. Features of
Inception, of a classifier of the same data, and raw columns are never compared with each other: statistics have an
origin, and ``frechet_distance`` refuses two different origins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from danlu.data.base.dataset import DataInfo
from danlu.metrics.moments import Moments, Origin
from danlu.models.classify.inception import SIDE, InceptionFID
from danlu.nn.roles import roles

BATCH = 500
"""examples per batch"""
LARGEST_SIDE = 16
"""largest side in pixels of images whose values are features; larger covariances take too long"""


@runtime_checkable
class FeatureNetwork(Protocol):
    """Computes features of examples. Examples are in the range of the data; images are from 0 to 1."""

    origin: Origin

    @property
    def name(self) -> str:
        """The name in the names of scores."""
        ...

    def features(self, x: Tensor) -> Tensor:
        """The features of each example, (n, d)."""
        ...


@runtime_checkable
class ClassifyingNetwork(FeatureNetwork, Protocol):
    """A feature network that also predicts classes, as the Inception Score requires."""

    def probabilities(self, x: Tensor) -> Tensor:
        """The probability of each class, (n, K)."""
        ...

    def probabilities_of(self, features: Tensor) -> Tensor:
        """The probability of each class from features, (n, K)."""
        ...


class ClassifierFeatures(nn.Module):
    """A classifier as a feature network: its features are the inputs of the linear layer that computes the logits.

    Args:
        classifier: a trained classifier; the layer of the logits is the declared output layer (``danlu.nn.roles``), or
            the linear layer that was registered last if none is declared.
        name: the name in the names of scores, for example ``digits-cnn``.

    Raises:
        ValueError: if the classifier has no linear layer.

    >>> from danlu.models import CNN
    >>> network = ClassifierFeatures(CNN((1, 8, 8), classes=10, hidden=(32,)), "digits-cnn")
    >>> x = torch.rand(3, 1, 8, 8)
    >>> network.features(x).shape, network.probabilities(x).shape, network.name
    (torch.Size([3, 32]), torch.Size([3, 10]), 'digits-cnn')
    """

    def __init__(self, classifier: nn.Module, name: str):
        super().__init__()
        linear = [module for module in classifier.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ValueError(f"{type(classifier).__name__} has no linear layer, whose inputs would be the features")
        role_of = roles(classifier)
        outputs = [layer for layer in linear if role_of.get(layer.weight) == "output"]
        self.classifier, self.last = classifier, (outputs or linear)[-1]
        self.origin = Origin(name, weights=fingerprint(classifier))

    @property
    def name(self) -> str:
        """The name in the names of scores."""
        return self.origin.name

    def features(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """The inputs of the layer of the logits."""
        captured: list[Tensor] = []
        hook = self.last.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        try:
            self.classifier(x)
        finally:
            hook.remove()
        return captured[-1].flatten(1)

    def probabilities(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """The probability of each class."""
        return self.probabilities_of(self.features(x))

    def probabilities_of(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """The probability of each class from features."""
        return self.last(features).softmax(dim=1)


class InceptionFeatures(nn.Module):
    """Inception-v3 with the public weights as a feature network; its scores are comparable with published ones.

    Probabilities are those of the published Inception Score, whose code multiplies by the weights of the last layer
    without its bias (Salimans et al., 2016).

    Args:
        network: Inception with the public weights.
    """

    def __init__(self, network: InceptionFID):
        super().__init__()
        self.network = network
        self.origin = Origin("inception", f"{SIDE}×{SIDE}", fingerprint(network))

    @property
    def name(self) -> str:
        """The name in the names of scores."""
        return self.origin.name

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 2048"]:
        """The mean of the last block over positions, for images of any size with values from 0 to 1."""
        return self.network.features(x)

    def probabilities(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1008"]:
        """The probability of each class."""
        return self.probabilities_of(self.features(x))

    def probabilities_of(self, features: Float[Tensor, "n 2048"]) -> Float[Tensor, "n 1008"]:
        """The probability of each class from features."""
        return (features @ self.network.fc.weight.T).softmax(dim=1)


class Columns(nn.Module):
    """The columns of a table as features, without classes.

    >>> Columns().features(torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """

    origin = Origin("columns")

    @property
    def name(self) -> str:
        """The name in the names of scores."""
        return self.origin.name

    def features(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """The examples, flattened."""
        return x.flatten(1)


class Pixels(nn.Module):
    """The pixel values of images as features; large images are first averaged to fewer pixels.

    Args:
        shape: shape of an image, (channels, height, width).

    >>> Pixels((3, 64, 32)).features(torch.zeros(2, 3, 64, 32)).shape, Pixels((3, 64, 32)).name
    (torch.Size([2, 768]), 'pixels at 16×16')
    """

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        height, width = (min(side, LARGEST_SIDE) for side in shape[1:])
        self.size = (height, width)
        self.origin = Origin("pixels", "" if self.size == tuple(shape[1:]) else f"{height}×{width}")

    @property
    def name(self) -> str:
        """The name in the names of scores."""
        return str(self.origin)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The pixel values."""
        return functional.adaptive_avg_pool2d(x, self.size).flatten(1)


def pixel_features(info: DataInfo) -> Pixels:
    """The values of images as features; images of 16×16 pixels at most."""
    return Pixels(info.shape)


def column_features(info: DataInfo) -> Columns:
    """The columns of a table as features."""
    return Columns()


class Extracted(NamedTuple):
    """Features and class probabilities of examples.

    Attributes:
        features: features of each example.
        probabilities: probability of each class; None if the network predicts no classes.
    """

    features: Float[Tensor, "n d"]
    probabilities: Float[Tensor, "n classes"] | None


@torch.no_grad()
def extract(network: FeatureNetwork, examples: Tensor | Iterable[Tensor], batch_size: int = BATCH) -> Extracted:
    """Compute features and class probabilities of examples, in batches.

    Args:
        network: the feature network; it is used in evaluation mode, and its mode is restored.
        examples: a tensor of all examples, or batches.
        batch_size: examples per batch, if the examples are a tensor.

    Raises:
        ValueError: if there are no examples.

    >>> extract(Columns(), torch.eye(2)).features
    tensor([[1., 0.],
            [0., 1.]])
    """
    features, probabilities = [], []
    with evaluation_mode(network):
        for batch in _batches(network, examples, batch_size):
            features.append(network.features(batch))
            if isinstance(network, ClassifyingNetwork):
                probabilities.append(network.probabilities_of(features[-1]))
    if not features:
        raise ValueError("examples must not be empty")
    return Extracted(torch.cat(features), torch.cat(probabilities) if probabilities else None)


@torch.no_grad()
def moments(network: FeatureNetwork, examples: Tensor | Iterable[Tensor], batch_size: int = BATCH) -> Moments:
    """Mean and covariance of the features of examples. The features are not kept in memory.

    Args:
        network: the feature network; it is used in evaluation mode, and its mode is restored.
        examples: a tensor of all examples, or batches.
        batch_size: examples per batch, if the examples are a tensor.

    Raises:
        ValueError: if there are no examples.

    >>> moments(Columns(), torch.eye(2)).mean
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    result: Moments | None = None
    with evaluation_mode(network):
        for batch in _batches(network, examples, batch_size):
            features = network.features(batch)
            if result is None:
                result = Moments(features.shape[1], network.origin, features.device)
            result.update(features)
    if result is None:
        raise ValueError("examples must not be empty")
    return result


def score_name(score: str, features: str | Origin, count: int, reference: str | None = None) -> str:
    """The name of a score in reports: the measure, the features, the number of examples, the reference.

    >>> score_name("FID", "digits-cnn", 10000, "train")
    'FID[digits-cnn, 10000 vs train]'
    >>> score_name("IS", Origin("inception", "299×299"), 50000)
    'IS[inception at 299×299, 50000]'
    """
    feature_name = features if isinstance(features, str) else str(features._replace(weights=""))
    return f"{score}[{feature_name}, {count}{f' vs {reference}' if reference else ''}]"


def fingerprint(network: nn.Module) -> str:
    """The first 12 hex digits of the SHA-256 of names, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def weight_of(network: object) -> Tensor | None:
    """A weight of a network, to get its device and dtype; None if it has no weights."""
    return next(network.parameters(), None) if isinstance(network, nn.Module) else None


@contextmanager
def evaluation_mode(network: object) -> Iterator[None]:
    """A context in which all modules of a network are in evaluation mode."""
    training = [module for module in network.modules() if module.training] if isinstance(network, nn.Module) else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _batches(network: FeatureNetwork, examples: Tensor | Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Batches of nonzero length on the device of the network."""
    first = weight_of(network)
    for batch in examples.split(size) if isinstance(examples, Tensor) else examples:
        if len(batch):
            yield batch if first is None else batch.to(first.device, first.dtype)
