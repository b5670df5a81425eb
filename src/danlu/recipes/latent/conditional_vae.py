"""Conditional variational autoencoder: samples of a given class. Sohn, Lee and Yan, 2015.

danlu train conditional-vae                                   digits
danlu train conditional-vae --data mnist --binarize dynamic --model.latent 20 --model.hidden 500 500
danlu train conditional-vae --data fashion-mnist --model.channels 32 64 --model.likelihood logistic
danlu train conditional-vae --data moons --model.likelihood gaussian --model.latent 2
danlu sample RUN --label 7
"""

from __future__ import annotations

from typing import Any, ClassVar

from danlu.data.base.dataset import DataInfo
from danlu.models.latent.conditional import ConditionalVAE
from danlu.recipes.class_labels import check_classes
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.latent.base import LatentRecipe, check_likelihood, data_arguments
from danlu.tasks.elbo import Elbo
from danlu.training.optimization.settings import OptimizerSettings, Positive


class ConditionalVAERecipe(LatentRecipe):
    """The layers of the recipe vae; encoder and decoder get the label."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"hidden": (16,), "latent": 3}, "batch_size": 16}

    model: Settings[ConditionalVAE] = settings(ConditionalVAE, latent=8, hidden=(256, 256))
    """the network"""
    epochs: Positive | None = 100

    def network(self, info: DataInfo) -> ConditionalVAE:
        check_classes(info, self.data, "conditional-vae")
        return check_likelihood(self.model.build(**data_arguments(info), classes=info.classes), info, self.data)

    def task(self, info: DataInfo) -> Elbo:
        return self.elbo(info)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        return {"vae": self}
