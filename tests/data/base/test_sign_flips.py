import math

import pytest
import torch

from danlu.data.base.sign_flips import flip_signs


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_each_sign_changes_with_the_probability(probability):
    x = torch.where(torch.rand(100, 200, generator=torch.Generator().manual_seed(0)) < 0.3, -1.0, 1.0)
    changed = (flip_signs(x, probability, "a") != x).double()
    deviation = math.sqrt(probability * (1 - probability) / x.numel())
    assert abs(float(changed.mean()) - probability) <= 4 * deviation
    assert float(changed.mean(1).var()) <= 2 * probability * (1 - probability) / 200


def test_the_key_decides():
    x = torch.ones(3, 50)
    assert torch.equal(flip_signs(x, 0.3, "a", 1), flip_signs(x, 0.3, "a", 1))
    assert not torch.equal(flip_signs(x, 0.3, "a", 1), flip_signs(x, 0.3, "a", 2))
    assert not torch.equal(flip_signs(x, 0.3, "a", 1)[0], flip_signs(x, 0.3, "a", 1)[1])
