"""Variational autoencoder for inpainting: random values are hidden from its encoder during training.

danlu train inpainting-vae                          digits
danlu train inpainting-vae --data mnist
danlu inpaint RUN IMAGE --mask half

The encoder gets the visible values and their mask, and the decoder predicts all values, so the encoder learns the
distribution of the latent given a part of an example. The bound is that of Sohn, Lee and Yan, "Learning structured
output representation using deep conditional generative models", 2015, with the standard normal prior. The notes also
hide hidden units: --model.dropout.
"""

from __future__ import annotations

from typing import Any, ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.data.base.page import Fraction
from danlu.models.latent.vae import VAE
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.latent.base import LatentRecipe, check_likelihood, data_arguments
from danlu.tasks.elbo import Elbo
from danlu.tasks.random_masks import Masks
from danlu.training.optimization.settings import NonNegative, OptimizerSettings, Positive


class InpaintingVAERecipe(LatentRecipe):
    """Up to 90% of the values are hidden, as single pixels or as a rectangle.

    β below 1 lets the latent carry more information, which improves inpainting and makes samples worse. The validation
    scores are of complete images, so none of them is monitored.
    """

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": (16,), "latent": 3}, "batch_size": 16}

    model: Settings[VAE] = settings(VAE, latent=8, hidden=(256, 256), likelihood="gaussian", dropout=0.1, masks=True)
    """the network"""
    beta: NonNegative = 0.1
    monitor: str | None = "none"
    epochs: Positive | None = 200
    hide: Fraction = 0.9
    """maximum fraction of hidden values; the fraction of each example is uniform from 0 to this"""
    blocks: bool = True
    """hide a rectangle in half of the images, instead of single pixels"""

    def network(self, info: DataInfo) -> VAE:
        return check_likelihood(self.model.build(**data_arguments(info)), info, self.data)

    def task(self, info: DataInfo) -> Elbo:
        return self.elbo(info, Masks(self.hide, self.blocks))

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        return {"vae": self}
