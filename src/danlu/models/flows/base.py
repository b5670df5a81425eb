"""The base class of normalizing flows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.models.base import Model
from danlu.models.finite_values import finite_extremes
from danlu.nn.one_hot import cycle_classes, one_hot
from danlu.nn.transforms.logit import Logit
from danlu.nn.transforms.transform import Transform
from danlu.sampling.latent_interpolation import four_anchor_walk, slerp

LEVELS = 256
"""number of levels of bytes"""
_ROUNDING = 1e-3
"""part of a level by which a value can be below the level through rounding"""


class Flow(Model):
    r"""An invertible function f from examples to codes with a standard normal prior, :math:`z = f(x)`.

    .. math:: \log p(x) = \log \mathcal N(f(x); 0, I) + \log \left| \det \frac{\partial f(x)}{\partial x} \right|

    Rezende and Mohamed, "Variational inference with normalizing flows", 2015, equation 5. The density is in nats and in
    the units of x. The transform of a subclass gets flat examples, (n, d), and returns flat codes, (n, d).

    Images, and waveforms of integers, have discrete values with a gap Δ between neighboring levels. ``log_prob`` is a
    density of real numbers, so they get noise before they are scored: x + Δu, with u uniform on [0, 1). The flow begins
    with the logit of such values (``danlu.nn.Logit``), whose Jacobian is counted. ``decode`` and ``sample`` round down
    to levels. ``encode`` takes the middle of each level, for values with or without noise.

    Examples must be finite numbers. On a GPU, they are not checked in training mode. Examples that require a gradient
    are not checked on any device.

    Args:
        shape: shape of one example.
        transform: the function f of flat examples (after the logit, for discrete values).
        classes: number of labels of a class-conditional flow, or 0. The transform gets one-hot labels as context.
        levels: number of levels of discrete values, such as pixels; 0 for continuous values.
        range: the smallest and the largest level.
        alpha: for discrete values, α of ``danlu.nn.Logit``.

    Attributes:
        shape: shape of one example.
        latent: number of values d of an example and of a code.
        classes: number of labels, or 0.
        levels: number of levels, or 0.
        range: smallest and largest level.

    Raises:
        ValueError: if a number is out of range.

    >>> from danlu.nn import ActNorm
    >>> flow = Flow((2,), ActNorm(2))
    >>> flow.log_prob(torch.zeros(1, 2))  # −log 2π
    tensor([-1.8379], grad_fn=...)
    """

    def __init__(
        self,
        shape: Sequence[int],
        transform: Transform,
        classes: int = 0,
        levels: int = 0,
        range: Sequence[float] = (0.0, 1.0),
        alpha: float = 0.05,
    ):
        super().__init__()
        if levels == 1 or levels < 0:
            raise ValueError(f"levels={levels} must be at least 2, or 0 for values that are not discrete")
        check_classes(classes)
        self.shape, self.latent, self.classes = tuple(shape), math.prod(shape), classes
        self.levels, self.range = levels, tuple(range)
        self.transform = transform
        self.logit = Logit(self.range[0], self.range[1] + self.spacing, alpha) if levels else None

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        common = frozenset({"generator", "density", "data_initialization"})
        return common | {"class_conditional"} if self.classes else common

    @property
    def spacing(self) -> float:
        """The gap Δ between neighboring levels; 0 for values that are not discrete."""
        return (self.range[1] - self.range[0]) / (self.levels - 1) if self.levels else 0.0

    def forward(
        self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None
    ) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n"]]:
        """Codes of examples as they are (images with noise), and the log-determinant of each example.

        Raises:
            ValueError: if the examples have another shape, a value is NaN or infinite, labels are missing, or an
                unconditional flow gets labels.
        """
        self._check(x)
        return self._transformed(x, self._context(x, labels))

    def inverse(
        self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"] | None = None
    ) -> tuple[Float[Tensor, "n *shape"], Float[Tensor, "n"]]:
        """Examples of codes before they are rounded to levels, and log |det ∂x/∂z| of each code.

        Raises:
            ValueError: if the codes have another size, labels are missing, or an unconditional flow gets labels.
        """
        if tuple(z.shape[1:]) != (self.latent,):
            raise ValueError(f"{type(self).__name__} takes codes of shape ({self.latent},), got {tuple(z.shape[1:])}")
        x, log_det = self.transform.inverse(z, self._context(z, labels))
        if self.logit is not None:
            x, logit_log_det = self.logit.inverse(x)
            log_det = log_det + logit_log_det
        return x.unflatten(1, self.shape), log_det

    def initialize(self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None) -> None:
        """Set the parameters whose initial values depend on data (``danlu.nn.ActNorm``), from a batch of examples.

        Args:
            x: the examples; images with noise.
            labels: their classes, for a class-conditional flow.
        """
        with torch.no_grad():
            flat = x.flatten(1)
            self.transform.initialize(flat if self.logit is None else self.logit(flat)[0], self._context(x, labels))

    def log_prob(self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n"]:
        r"""Log-density of each example in nats, in the units of x.

        A class-conditional flow without labels has the density of the mixture of all K classes with equal weights,
        :math:`\log \tfrac1K \sum_y p(x \mid y)`.

        Args:
            x: the examples; images with noise.
            labels: the class of each example, for log p(x | y).

        Raises:
            ValueError: as for ``forward``.
        """
        if self.classes and labels is None:
            self._check(x)
            return self._class_densities(x).logsumexp(1) - math.log(self.classes)
        z, log_det = self(x, labels)
        return _normal_log_prob(z) + log_det

    def energy(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        """−log p(x) of each example in nats."""
        return -self.log_prob(x)

    def encode(self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n latent"]:
        """The code of each example; of a class-conditional flow without labels, for its most probable class."""
        x = self._middles(x)
        if labels is not None or not self.classes:
            return self(x, labels)[0]
        self._check(x)
        classes = torch.arange(self.classes, device=x.device)  # one_hot reads values, which an export cannot trace
        return self._transformed(x, (self._class_densities(x).argmax(1)[:, None] == classes).to(x.dtype))[0]

    def decode(self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n *shape"]:
        """The example of each code; of images, the levels.

        Args:
            z: the codes.
            labels: the class of each example of a class-conditional flow; by default the classes in turn.
        """
        if labels is None and self.classes:
            labels = cycle_classes(len(z), self.classes, z.device)
        return self._rounded(self.inverse(z, labels)[0])

    def decode_with_log_prob(
        self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"] | None = None
    ) -> tuple[Float[Tensor, "n *shape"], Float[Tensor, "n"]]:
        """Examples before they are rounded to levels, and their log-densities, both differentiable.

        It takes one pass, so that a flow can be fitted to an energy by variational inference.
        """
        x, log_det = self.inverse(z, labels)
        return x, _normal_log_prob(z) - log_det

    def log_prob_unbounded(
        self, y: Float[Tensor, "n latent"], labels: Int[Tensor, "n"] | None = None
    ) -> Float[Tensor, "n"]:
        """Log-density of flat unbounded values: of images, the logits of pixels with noise; otherwise the examples.

        Args:
            y: the values.
            labels: the class of each example of a class-conditional flow.
        """
        z, log_det = self.transform(y, self._context(y, labels))
        return _normal_log_prob(z) + log_det

    def decode_unbounded(
        self, z: Float[Tensor, "n latent"], labels: Int[Tensor, "n"] | None = None
    ) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n"]]:
        """The flat unbounded values of codes, see ``log_prob_unbounded``, and their log-densities.

        Rounding does not limit logits, as it limits pixels near the ends of their range.
        """
        y, log_det = self.transform.inverse(z, self._context(z, labels))
        return y, _normal_log_prob(z) - log_det

    def prior(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n latent"]:
        """Draw n standard normal codes."""
        weight = next(self.parameters())
        return torch.randn(n, self.latent, generator=generator, device=weight.device, dtype=weight.dtype)

    def sample(
        self, n: int, labels: Int[Tensor, "n"] | None = None, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n *shape"]:
        """Decode codes drawn from the prior.

        Args:
            n: number of examples.
            labels: the class of each example of a class-conditional flow; by default the classes in turn.
            generator: random number generator.
        """
        return self.decode(self.prior(n, generator=generator), labels)

    def interpolate(
        self, a: Float[Tensor, "n *shape"], b: Float[Tensor, "n *shape"], steps: int
    ) -> Float[Tensor, "n steps *shape"]:
        """Decode the spherical interpolation from the code of each a to the code of its b, both ends included.

        A class-conditional flow uses the most probable class of a for both.
        """
        labels = self._most_probable(self._middles(a))
        z = slerp(self.encode(a, labels), self.encode(b, labels), steps)
        labels = None if labels is None else labels.repeat_interleave(steps)
        return self.decode(z.flatten(0, 1), labels).unflatten(0, (-1, steps))

    def latent_walk(
        self, anchors: Float[Tensor, "anchors *shape"], steps: int = 8
    ) -> Float[Tensor, "steps steps *shape"]:
        """Decode the walk through the codes of four examples of ``danlu.sampling.four_anchor_walk``.

        Dinh et al., "Density estimation using Real NVP", 2017, section 4.2, with 8 steps. A
        class-conditional flow uses the most probable class of the first example for all.
        """
        labels = self._most_probable(self._middles(anchors[:1]))
        z = four_anchor_walk(self.encode(anchors, None if labels is None else labels.expand(len(anchors))), steps)
        labels = None if labels is None else labels.expand(steps * steps)
        return self.decode(z.flatten(0, 1), labels).unflatten(0, (steps, steps))

    def _check(self, x: Tensor) -> None:
        """Check the shape and the values of examples."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"{type(self).__name__} takes examples of shape {self.shape}, got {tuple(x.shape[1:])}")
        finite_extremes(self, x)

    def _transformed(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Codes of examples, which are checked, and log-determinants."""
        if self.logit is None:
            return self.transform(x.flatten(1), context)
        z, logit_log_det = self.logit(x.flatten(1))
        z, log_det = self.transform(z, context)
        return z, log_det + logit_log_det

    def _context(self, x: Tensor, labels: Tensor | None) -> Tensor | None:
        """One-hot labels, or None for an unconditional flow."""
        if bool(self.classes) != (labels is not None):
            reason = f"needs the label of each example, one of {self.classes}" if self.classes else "takes no labels"
            raise ValueError(f"{type(self).__name__} {reason}")
        return None if labels is None else one_hot(labels, self.classes, x)

    def _class_densities(self, x: Tensor) -> Float[Tensor, "n classes"]:
        """log p(x | y) for each class y, of examples that are checked."""
        labels = torch.eye(self.classes, dtype=x.dtype, device=x.device)
        codes = (self._transformed(x, label.expand(x.shape[0], -1)) for label in labels)
        return torch.stack([_normal_log_prob(z) + log_det for z, log_det in codes], 1)

    def _most_probable(self, x: Tensor) -> Tensor | None:
        """The class with the largest density of each example; None for an unconditional flow."""
        if not self.classes:
            return None
        self._check(x)
        return self._class_densities(x).argmax(1)

    def _indices(self, x: Tensor, tolerance: float) -> Tensor:
        """The number of the level that each value has without its noise."""
        return ((x - self.range[0]) / self.spacing + tolerance).floor().clamp(0, self.levels - 1)

    def _rounded(self, x: Tensor) -> Tensor:
        """Images: the levels without noise, equal to those of the data to the last bit."""
        if not self.levels:
            return x
        return self._indices(x, 0.0) * (self.range[1] - self.range[0]) / (self.levels - 1) + self.range[0]

    def _middles(self, x: Tensor) -> Tensor:
        """Images: the middle of each level, for values with or without noise."""
        if not self.levels:
            return x
        finite_extremes(self, x)  # an infinite value would become the last level
        return (self._indices(x, _ROUNDING) + 0.5) * self.spacing + self.range[0]


def check_classes(classes: int) -> None:
    """Check a number of classes, before layers are built that would name it otherwise.

    Raises:
        ValueError: if it is negative.
    """
    if classes < 0:
        raise ValueError(f"classes={classes} must be at least 0")


def _normal_log_prob(z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Log-density of standard normal codes."""
    return -0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))
