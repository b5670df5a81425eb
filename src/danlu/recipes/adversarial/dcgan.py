"""Deep convolutional GAN. Radford, Metz and Chintala, "Unsupervised representation learning with …", 2016.

danlu train dcgan                                     digits
danlu train dcgan --data mnist --generator.width 32 --critic.width 32
danlu train dcgan --data fashion-mnist --conditional
danlu train dcgan --data cifar10 --rounds 50000       where there is a GPU
danlu train dcgan --critic.norm virtual --generator.norm virtual
danlu arithmetic RUN 3,5,8 - 1,4,9 + 2,6,7            codes of pictures that danlu sample RUN has numbered

The paper's layers and rates: strided convolutions without pooling, batch norm but in the generator's last and the
critic's first layer, leaky rectifiers of slope 0.2, Adam with β₁ = 0.5, 128 examples a batch, real and generated ones
apart. An average of the generator's weights, which changes nothing in the game, is what is saved.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.recipes.adversarial.base import ConvolutionalPair
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.training.optimization.settings import Share


class DCGANRecipe(ConvolutionalPair):
    """Convolutions that double and halve the picture, and the loss that does not saturate."""

    tiny: ClassVar[dict[str, Any]] = {
        "generator": {"width": 4, "latent": 4},
        "critic": {"width": 4},
        "batch_size": 16,
    }

    generator: Settings[DCGANGenerator] = settings(DCGANGenerator, latent=100, width=64)
    critic: Settings[DCGANCritic] = settings(DCGANCritic, width=64)
    betas: tuple[Share, Share] | None = (0.5, 0.999)
    ema: Share | None = 0.999
    batch_size: Count | Literal["full"] = 128
    rounds: Count | None = 3000
