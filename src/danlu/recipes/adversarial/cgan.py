"""Conditional generative adversarial network. Mirza and Osindero, 2014.

danlu train cgan                                      digits
danlu train cgan --data fashion-mnist
danlu sample RUN --label 7

Mirza and Osindero, "Conditional generative adversarial nets", gives the label to the generator and to the critic.
``danlu train dcgan --conditional`` does the same with convolutions.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.page import Fraction
from danlu.models.adversarial.mlp import MLPCritic, MLPGenerator
from danlu.recipes.adversarial.base import DensePair
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count


class CGANRecipe(DensePair):
    """Fully connected generator and critic, both conditional on the label."""

    tiny: ClassVar[dict[str, Any]] = {
        "generator": {"hidden": (16,), "latent": 4},
        "critic": {"hidden": (16,)},
        "batch_size": 16,
    }

    generator: Settings[MLPGenerator] = settings(MLPGenerator, latent=32, hidden=(256, 256))
    critic: Settings[MLPCritic] = settings(MLPCritic, hidden=(256, 256))
    conditional: bool = True
    betas: tuple[Fraction, Fraction] | None = (0.5, 0.999)
    ema: Fraction | None = 0.999
    batch_size: Count | Literal["full"] = 128
    rounds: Count | None = 6000
