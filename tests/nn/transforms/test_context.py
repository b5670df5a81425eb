"""Networks with a context refuse to be called without it, and others refuse one."""

import pytest
import torch

from danlu.nn import MADE, CouplingMLP, CouplingResNet, Planar

NETWORKS = {
    "planar": lambda context: Planar(2, 2, context=context),
    "rows": lambda context: CouplingMLP(2, 2, (4,), context=context),
    "images": lambda context: CouplingResNet(2, 2, 4, context=context),
    "made": lambda context: MADE(2, 2, (4,), context=context),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_context_is_needed_or_refused(name):
    x = torch.zeros(5, 2, 4, 4) if name == "images" else torch.zeros(5, 2)
    NETWORKS[name](3)(x, torch.zeros(5, 3))
    NETWORKS[name](0)(x)
    with pytest.raises(ValueError, match="this network needs context; context=None"):
        NETWORKS[name](3)(x)
    with pytest.raises(ValueError, match="this network has no context; context=a tensor"):
        NETWORKS[name](0)(x, torch.zeros(5, 3))
