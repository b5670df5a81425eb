"""Wasserstein GAN with gradient penalty. Gulrajani et al., "Improved training of Wasserstein GANs", 2017, algorithm 1.

danlu train wgan-gp                                   digits
danlu train wgan-gp --data ring --critic-turns 2 --penalty 0.1 --lr 1e-3 --schedule linear --rounds 5000
danlu train wgan-gp --data mnist --generator.width 32 --critic.width 32
danlu train wgan-gp --data fashion-mnist --conditional
danlu train wgan-gp --critic.norm layer

Adam with β = (0, 0.9), five turns of the critic per turn of the generator, λ = 10. The gradient
penalty requires that each score depends on one example only; therefore the critic has no batch norm.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.page import Fraction
from danlu.losses.adversarial import Loss
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.recipes.adversarial.base import ConvolutionalPair
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.training.optimization.settings import NonNegative, Positive


class WGANGPRecipe(ConvolutionalPair):
    """The networks of DCGAN, with a penalty of the critic's gradient between real and generated examples."""

    tiny: ClassVar[dict[str, Any]] = {
        "generator": {"width": 4, "latent": 4},
        "critic": {"width": 4},
        "batch_size": 16,
        "critic_turns": 2,
    }
    without_gradient: ClassVar[frozenset[str]] = frozenset(
        {"critic.last.bias"}
    )  # it cancels between real and generated

    generator: Settings[DCGANGenerator] = settings(DCGANGenerator, latent=128, width=64)
    critic: Settings[DCGANCritic] = settings(DCGANCritic, width=64, norm=None)
    loss: Loss = "wasserstein"
    critic_turns: Count = 5
    penalty: NonNegative = 10.0
    lr: Positive = 1e-4
    betas: tuple[Fraction, Fraction] | None = (0.0, 0.9)
    ema: Fraction | None = 0.999
    batch_size: Count | Literal["full"] = 64
    rounds: Count | None = 3000
