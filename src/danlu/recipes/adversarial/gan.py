"""Generative adversarial network. Goodfellow et al., "Generative adversarial nets", 2014.

danlu train gan                                       digits
danlu train gan --data ring                           eight Gaussians; some are often not covered
danlu train gan --data ring --critic.minibatch 16     with minibatch discrimination (Salimans et al., 2016)
danlu train gan --loss minimax                        the minimax value, whose gradient vanishes
danlu train gan --feature-matching add                as in the notes; the paper uses replace
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.page import Fraction
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.recipes.adversarial.base import DensePair
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count


class GANRecipe(DensePair):
    """Fully connected generator and critic."""

    tiny: ClassVar[dict[str, Any]] = {
        "generator": {"hidden": (16,), "latent": 4},
        "critic": {"hidden": (16,)},
        "batch_size": 16,
    }

    generator: Settings[MLPGenerator] = settings(MLPGenerator, latent=32, hidden=(256, 256))
    critic: Settings[MLPCritic] = settings(MLPCritic, hidden=(256, 256))
    betas: tuple[Fraction, Fraction] | None = (0.5, 0.999)
    ema: Fraction | None = 0.999
    batch_size: Count | Literal["full"] = 128
    rounds: Count | None = 6000
