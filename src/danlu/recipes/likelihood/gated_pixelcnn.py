"""Gated PixelCNN. van den Oord et al., "Conditional image generation with PixelCNN decoders", 2016.

danlu train gated-pixelcnn                                 digits, a softmax over the 17 levels
danlu train gated-pixelcnn --conditional                   the class of each image is given
danlu sample RUN --label 7 --temperature 0.8
danlu train gated-pixelcnn --data mnist --binarize dynamic
danlu train gated-pixelcnn --data cifar10 --model.output logistic
danlu inpaint RUN image.png --mask half                    complete the lower half of an image
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.dataset import DataInfo
from danlu.models.pixels.gated import GatedPixelCNN
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.likelihood.base import PixelRecipe
from danlu.training.optimization.settings import Positive


class GatedPixelCNNRecipe(PixelRecipe):
    """Gated convolutions in a vertical and a horizontal stack, without a blind spot."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"layers": 2, "channels": 8, "first_kernel": 3}, "batch_size": 16}

    model: Settings[GatedPixelCNN] = settings(GatedPixelCNN, layers=5, channels=32, first_kernel=5)
    """the network"""
    epochs: Positive | None = 25
    batch_size: Count | Literal["full"] = 32

    def network(self, info: DataInfo) -> GatedPixelCNN:
        return self.model.build(**self.data_arguments(info))
