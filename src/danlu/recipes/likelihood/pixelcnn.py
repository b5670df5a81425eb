"""PixelCNN. van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", 2016.

danlu train pixelcnn                                       digits, a softmax over the 17 levels
danlu train pixelcnn --binarize static                     black and white digits
danlu train pixelcnn --data mnist --binarize dynamic       binary images, for comparison with published results
danlu train pixelcnn --data cifar10 --model.output logistic
danlu train pixelcnn --model.output affine                 as in the lecture notes: a flow with a density
danlu inpaint RUN image.png --mask half                    complete the lower half of an image
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from danlu.data.base.dataset import DataInfo
from danlu.models.pixels.pixelcnn import PixelCNN
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count
from danlu.recipes.likelihood.base import PixelRecipe
from danlu.training.optimization.settings import Positive


class PixelCNNRecipe(PixelRecipe):
    """Masked convolutions in residual blocks, and one distribution per color of a pixel."""

    tiny: ClassVar[dict[str, Any]] = {"model": {"layers": 2, "channels": 8, "first_kernel": 3}, "batch_size": 16}

    model: Settings[PixelCNN] = settings(PixelCNN, layers=5, channels=32, first_kernel=5)
    """the network"""
    epochs: Positive | None = 25
    batch_size: Count | Literal["full"] = 32

    def network(self, info: DataInfo) -> PixelCNN:
        return self.model.build(**self.data_arguments(info))
