"""Deep convolutional GAN. Radford, Metz and Chintala, "Unsupervised representation learning with …", 2016.

danlu train dcgan                                     digits
danlu train dcgan --data mnist --generator.width 32 --critic.width 32
danlu train dcgan --data fashion-mnist --conditional
danlu train dcgan --data cifar10 --rounds 50000       on a GPU
danlu train dcgan --critic.norm virtual --generator.norm virtual
danlu arithmetic RUN 3,5,8 - 1,4,9 + 2,6,7            numbers of images that danlu sample RUN --numbers writes

The rules and settings are those of the paper's sections 3 and 4: strided convolutions without pooling, batch norm in
all layers but the last of the generator and the first of the critic, leaky ReLU with slope 0.2, Adam with β₁ = 0.5,
batches of 128. Separate batches of real and generated examples are those of the authors' code. Kernels are 4×4 (theirs
5×5), latents are normal (theirs uniform), and there is no weight decay (their code has a small one). The averaged
weights of the generator are saved; the average does not affect the training.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.page import Fraction
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.recipes.adversarial.base import ConvolutionalPair
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count


class DCGANRecipe(ConvolutionalPair):
    """Convolutions with stride 2, and the non-saturating loss."""

    tiny: ClassVar[dict[str, Any]] = {
        "generator": {"width": 4, "latent": 4},
        "critic": {"width": 4},
        "batch_size": 16,
    }

    generator: Settings[DCGANGenerator] = settings(DCGANGenerator, latent=100, width=64)
    critic: Settings[DCGANCritic] = settings(DCGANCritic, width=64)
    betas: tuple[Fraction, Fraction] | None = (0.5, 0.999)
    ema: Fraction | None = 0.999
    batch_size: Count | Literal["full"] = 128
    rounds: Count | None = 3000
