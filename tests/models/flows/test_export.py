"""Densities and codes as traced graphs for batches of any size: what an export to ONNX begins with."""

import pytest
import torch
from torch import nn

from danlu.models import MAF, GatedPixelCNN, PixelCNN, PlanarFlow, RealNVP

MODELS = {
    "planar": lambda: PlanarFlow((3,), layers=2),
    "realnvp": lambda: RealNVP((3,), couplings=4, hidden=(8,), classes=2, norm="batch"),
    "images": lambda: RealNVP((1, 4, 4), couplings=1, width=4, blocks=1, levels=5),
    "maf": lambda: MAF((3,), blocks=2, hidden=(8,), order="random"),
    "mixture": lambda: MAF((3,), blocks=1, hidden=(8,), mixture=2, classes=2),
    "wavenet": lambda: MAF((8,), blocks=2, conditioner="wavenet", channels=4, layers=2, levels=5),
    "pixelcnn": lambda: PixelCNN((1, 4, 4), layers=1, channels=4, levels=5),
    "gated": lambda: GatedPixelCNN((1, 4, 4), layers=2, channels=4, levels=5, classes=2),
}


class Verb(nn.Module):
    """A verb as the ``forward`` that is traced."""

    def __init__(self, model, verb):
        super().__init__()
        self.model, self.verb = model, verb

    def forward(self, x):
        return getattr(self.model, self.verb)(x)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("planar", "encode"),
        ("realnvp", "encode"),
        ("images", "log_prob"),
        ("maf", "encode"),
        pytest.param("mixture", "log_prob", marks=pytest.mark.long),
        pytest.param("wavenet", "encode", marks=pytest.mark.long),
        pytest.param("pixelcnn", "log_prob", marks=pytest.mark.long),
        ("gated", "log_prob"),
    ],
)
def test_a_verb_is_traced_for_batches_of_any_size(name, verb):
    torch.manual_seed(0)
    module = Verb(MODELS[name](), verb).eval()
    shapes = {"x": {0: torch.export.Dim("n")}}
    program = torch.export.export(module, (torch.rand(2, *module.model.shape),), dynamic_shapes=shapes)
    for n in (1, 5):
        x = torch.rand(n, *module.model.shape)
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-5, atol=1e-5)
