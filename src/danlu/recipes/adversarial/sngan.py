"""GAN with spectral normalization. Miyato, Kataoka, Koyama and Yoshida, 2018.

danlu train sngan                                     digits
danlu train sngan --data fashion-mnist --conditional
danlu train sngan --data cifar10 --rounds 50000 --generator.width 256
danlu train sngan --generator.attention 4 --critic.attention 4

Miyato et al., "Spectral normalization for generative adversarial networks", 2018: each weight matrix of the critic is
divided by its largest singular value. These settings are those of the authors' code for CIFAR-10: residual blocks,
hinge loss, Adam with β = (0, 0.9), five turns of the critic per turn of the generator. Different are the constant
learning rate (theirs decreases linearly to 0), the generator's batches of 64 (theirs 128), the smaller networks and the
averaged weights. With labels the critic is a projection
discriminator (Miyato and Koyama, 2018), and the generator has conditional batch norm. With attention the networks are
those of SAGAN (Zhang et al., 2019), which also normalizes the generator.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.page import Fraction
from danlu.losses.adversarial import Loss
from danlu.models.adversarial.resnet import ResNetCritic, ResNetGenerator
from danlu.recipes.adversarial.base import ConvolutionalPair
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.training.optimization.settings import Positive


class SNGANRecipe(ConvolutionalPair):
    """Residual generator and critic; their widths in the paper are 256 and 128."""

    tiny: ClassVar[dict[str, Any]] = {
        "generator": {"width": 4, "latent": 4},
        "critic": {"width": 4},
        "batch_size": 16,
        "critic_turns": 2,
    }

    generator: Settings[ResNetGenerator] = settings(ResNetGenerator, latent=128, width=64)
    critic: Settings[ResNetCritic] = settings(ResNetCritic, width=64, spectral=True)
    loss: Loss = "hinge"
    critic_turns: Count = 5
    lr: Positive = 2e-4
    betas: tuple[Fraction, Fraction] | None = (0.0, 0.9)
    ema: Fraction | None = 0.999
    batch_size: Count | Literal["full"] = 64
    rounds: Count | None = 2000
