"""Wasserstein GAN with clipped weights. Arjovsky, Chintala and Bottou, "Wasserstein GAN", 2017, algorithm 1.

danlu train wgan                                      digits
danlu train wgan --data mnist --generator.width 32 --critic.width 32
danlu train wgan --weight-clip 0.1                    faster; the estimated distance is larger by a factor

RMSProp without momentum, five turns of the critic per turn of the generator, weights within ±0.01. The difference of
the mean scores is the Wasserstein distance up to an unknown factor.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.page import Fraction
from danlu.losses.adversarial import Loss
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.recipes.adversarial.base import ConvolutionalPair
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.training.optimization.settings import OptimizerName, Positive


class WGANRecipe(ConvolutionalPair):
    """The networks of DCGAN; the weights of the critic are clipped after each of its turns."""

    tiny: ClassVar[dict[str, Any]] = {
        "generator": {"width": 4, "latent": 4},
        "critic": {"width": 4},
        "batch_size": 16,
        "critic_turns": 2,
    }
    without_gradient: ClassVar[frozenset[str]] = frozenset(
        {"critic.last.bias"}
    )  # it cancels between real and generated

    generator: Settings[DCGANGenerator] = settings(DCGANGenerator, latent=100, width=64)
    critic: Settings[DCGANCritic] = settings(DCGANCritic, width=64)
    loss: Loss = "wasserstein"
    critic_turns: Count = 5
    weight_clip: Positive | None = 0.01
    optimizer: OptimizerName = "rmsprop"
    lr: Positive = 5e-5
    ema: Fraction | None = 0.999
    batch_size: Count | Literal["full"] = 64
    rounds: Count | None = 3000
