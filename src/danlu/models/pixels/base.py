"""The base class of autoregressive models of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from danlu.data.base.effects import Needs
from danlu.models.base import Model
from danlu.models.finite_values import finite_extremes
from danlu.models.latent.inpainting import checked_mask
from danlu.models.pixels.by_name import pixel_output
from danlu.models.pixels.likelihood import pixel_log_probs
from danlu.models.pixels.outputs import AffineOutput, Output, check_temperature, draw_category
from danlu.models.pixels.raster import Conditionals, WholeImages, fill
from danlu.nn.one_hot import cycle_classes, one_hot

COMPONENTS_NEED = Needs("components", ("output",), ("logistic",))
"""the argument that only a mixture has"""


class PixelModel(Model):
    r"""A model that factorizes the probability of an image into those of its pixels, in raster order.

    .. math:: p(x) = \prod_i p(x_i \mid x_1, \dots, x_{i-1})

    Args:
        shape: (colors, height, width) of one image.
        classes: number of classes of a class-conditional model, or 0.
        levels: number of levels of a color.
        range: lowest and highest level.
        output: distribution of a color, by name.
        components: number of components of a mixture.

    Attributes:
        shape: (colors, height, width) of one image.
        classes: number of classes, or 0.
        output: distribution of the colors of a pixel.

    Raises:
        ValueError: if an argument is out of range, or the output does not fit the number of levels.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        levels: int,
        range: Sequence[float],
        output: Output,
        components: int,
    ):
        super().__init__()
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape={tuple(shape)} must be (colors, height, width) of an image")
        if not isinstance(classes, int) or classes < 0:
            raise ValueError(f"classes={classes!r} must be an integer >= 0")
        self.shape, self.classes = tuple(shape), classes
        self.output = pixel_output(output, shape[0], levels, range, components)

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        conditional = {"class_conditional"} if self.classes else set()
        density = {"density"} if self.output.continuous else set()
        return frozenset({"generator", "temperature"} | conditional | density)

    def compute_outputs(
        self, y: Float[Tensor, "n colors h w"], class_weights: Float[Tensor, "n classes"] | None
    ) -> Float[Tensor, "n groups units h w"]:
        """The parameters of the distribution of each pixel, from values from -1 to 1 and one-hot labels."""
        raise NotImplementedError(f"{type(self).__name__} must define compute_outputs")

    def cached_conditionals(self, n: int, class_weights: Float[Tensor, "n classes"] | None) -> Conditionals:
        """The same for one pixel after the other, without computing anything twice."""
        raise NotImplementedError(f"{type(self).__name__} must define cached_conditionals")

    def forward(
        self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None
    ) -> Float[Tensor, "n groups units h w"]:
        """The parameters of the distribution of each pixel.

        Args:
            x: images in the range of the data.
            labels: class of each image, for a class-conditional model.

        Raises:
            ValueError: if the shape of the images is wrong, a value is NaN, infinite or out of range, or labels are
                missing or out of range.
        """
        return self.compute_outputs(self._values(x), self._class_weights(x, labels))

    def log_prob(self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n"]:
        r"""The exact log-probability of each image in nats; for the output "affine", its log-density.

        Values between two levels are rounded to the nearest level, so that probabilities sum to 1. A class-conditional
        model without labels is the mixture over classes with equal weights, :math:`\log \frac1K \sum_y p(x \mid y)`.
        On a GPU, values are not checked in training mode. Values that require a gradient are not checked on any device.

        Args:
            x: images in the range of the data.
            labels: class of each image, for a class-conditional model.

        Raises:
            ValueError: if the shape of the images is wrong, a value is NaN, infinite or (except for "affine") out of
                range, or a label is out of range.
        """
        y = self._values(x)
        if self.classes and labels is None:
            log_probs = self._class_log_probs(y).flatten(2).sum(2)
            return (log_probs.logsumexp(0) - math.log(self.classes)) + self._log_volume()
        return self._pixel_log_probs(y, self._class_weights(x, labels)).flatten(1).sum(1) + self._log_volume()

    def energy(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        """The negative of ``log_prob``."""
        return -self.log_prob(x)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        labels: Int[Tensor, "n"] | None = None,
        *,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        cached: bool = True,
    ) -> Float[Tensor, "n *shape"]:
        """Draw images pixel by pixel.

        Args:
            n: number of images.
            labels: class of each image, for a class-conditional model; by default the classes in turn.
            generator: random number generator.
            temperature: above 0; 1 for the model itself, less for more probable colors of each pixel.
            cached: keep what later pixels need, which gives the same result as a pass over whole images for each pixel
                except for rounding, in far less time.

        Returns:
            Images on the levels of the data.

        Raises:
            ValueError: if the temperature is not greater than 0, or a label is out of range.
        """
        weight = next(self.parameters())
        y = weight.new_zeros(n, *self.shape)
        if self.classes and labels is None:
            labels = cycle_classes(n, self.classes, weight.device)
        self._fill(y, None, self._class_weights(y, labels), generator, temperature, cached)
        return self.output.scale.to_data(y)

    @torch.no_grad()
    def inpaint(
        self,
        x: Float[Tensor, "n *shape"],
        mask: Tensor,
        labels: Int[Tensor, "n"] | None = None,
        *,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        cached: bool = True,
    ) -> Float[Tensor, "n *shape"]:
        """Draw missing pixels in raster order, each given all earlier pixels, given or drawn.

        If all missing pixels come after all given ones, as in the lower half of an image, the result is an exact draw
        from the distribution of the missing pixels given the others. Otherwise it is not: a given pixel has no
        influence on missing pixels that come before it.

        The output "affine" is a density of continuous values; there a given pixel is in the middle of the interval of
        its level. A class-conditional model without labels draws the class of each image given the pixels before the
        first missing one.

        Args:
            x: images in the range of the data; missing values may be arbitrary numbers.
            mask: 1 for given and 0 for missing values, (n, *shape) or a shape that broadcasts to it.
            labels: class of each image, for a class-conditional model.
            generator: random number generator.
            temperature: above 0; 1 for the model itself, less for more probable colors of each pixel.
            cached: as for ``sample``.

        Returns:
            The images with missing values on the levels of the data; given values are unchanged.

        Raises:
            ValueError: if a shape is wrong, the mask has values other than 0 and 1, a given value is NaN, infinite or
                out of range, or the temperature is not greater than 0.
        """
        self._check_shape(x)
        known, scale = checked_mask(x, mask), self.output.scale
        given = torch.where(known, x, torch.full_like(x, scale.low))
        if (extremes := finite_extremes(self, given)) is not None:
            scale.check(*extremes)
        y = scale.within(given)
        if self.classes and labels is None:
            labels = self._draw_labels(y, known, generator)
        self._fill(y, known, self._class_weights(x, labels), generator, temperature, cached)
        return torch.where(known, x, scale.to_data(y))

    def standardize(
        self, x: Float[Tensor, "n *shape"], labels: Int[Tensor, "n"] | None = None
    ) -> tuple[Float[Tensor, "n *shape"], Float[Tensor, "n"]]:
        """The latent values z of the output "affine", and log |det dz/dx|; z is standard normal under the model.

        Args:
            x: images in the range of the data, with noise added to their levels.
            labels: class of each image, for a class-conditional model.

        Raises:
            ValueError: if the output is not "affine", or as for ``forward``.
        """
        if not isinstance(self.output, AffineOutput):
            raise ValueError("only a model with output affine has latent values")
        y = self._values(x)
        z, log_det = self.output.standardize(y, self(x, labels).to(y.dtype))
        return z, log_det + self._log_volume()

    def _fill(
        self,
        y: Float[Tensor, "n *shape"],
        known: Bool[Tensor, "n *shape"] | None,
        class_weights: Tensor | None,
        generator: torch.Generator | None,
        temperature: float,
        cached: bool,
    ) -> None:
        """Draw the missing values of images, which are overwritten."""
        check_temperature(temperature)
        n, colors, height, width = y.shape
        noise = self.output.noise((height, width, colors, self.output.draws, n), y, generator)
        with torch.autocast(y.device.type, enabled=False):  # a cache has the type of the weights
            conditionals = (
                self.cached_conditionals(n, class_weights)
                if cached
                else WholeImages(lambda images: self.compute_outputs(images, class_weights), y)
            )
            fill(conditionals, self.output, y, known, noise, temperature)

    def _draw_labels(self, y: Tensor, known: Tensor, generator: torch.Generator | None) -> Int[Tensor, "n"]:
        """Draw the class of each image given the pixels before its first missing one."""
        before = known.all(1).flatten(1).long().cumprod(1).view(len(y), *self.shape[1:])
        log_probs = torch.where(before > 0, self._class_log_probs(y), 0).flatten(2).sum(2)
        uniform = torch.rand(len(y), generator=generator, device=y.device, dtype=y.dtype)
        return draw_category(log_probs.T, uniform)

    def _class_log_probs(self, y: Float[Tensor, "n *shape"]) -> Float[Tensor, "classes n h w"]:
        """Log-probability of each pixel, given each class."""
        labels = torch.eye(self.classes, dtype=y.dtype, device=y.device)
        return torch.stack([self._pixel_log_probs(y, label.expand(y.shape[0], -1)) for label in labels])

    def _pixel_log_probs(self, y: Tensor, class_weights: Tensor | None) -> Float[Tensor, "n h w"]:
        return pixel_log_probs(self.compute_outputs, self.output, y, class_weights)

    def _log_volume(self) -> float:
        """Logarithm of the change of volume from data to values of the network."""
        return math.prod(self.shape) * self.output.scale.log_slope if self.output.continuous else 0.0

    def _values(self, x: Tensor) -> Float[Tensor, "n *shape"]:
        """Values from -1 to 1 of images, which are checked."""
        self._check_shape(x)
        extremes = finite_extremes(self, x)
        if extremes is not None and not self.output.continuous:  # a density is defined for all numbers
            self.output.scale.check(*extremes)
        return self.output.scale.to_network(x)

    def _check_shape(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ValueError(f"images of shape {tuple(x.shape)}; this model needs (n, {expected})")

    def _class_weights(self, x: Tensor, labels: Tensor | None) -> Float[Tensor, "n classes"] | None:
        if not self.classes:
            if labels is not None:
                raise ValueError("labels are for a class-conditional model; this one has no classes, leave them out")
            return None
        if labels is None:
            raise ValueError(f"a class-conditional model needs labels, (n,), from 0 to {self.classes - 1}")
        return one_hot(labels, self.classes, x)
