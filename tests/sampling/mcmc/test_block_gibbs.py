"""Block Gibbs sampling of a restricted Boltzmann machine against its enumerated distribution."""

import pytest
import torch

from danlu.rng import generator
from danlu.sampling import BlockGibbs, run_chains
from mcmc_laws import Enumerated, assert_distributed, assert_frequencies, total_variation

VISIBLE, HIDDEN = 4, 3


class RBM(Enumerated):
    """Binary units 0 and 1 without couplings inside of a layer."""

    def __init__(self):
        super().__init__(sites=VISIBLE + HIDDEN, values=(0, 1), scale=1.5)
        self.weight[:VISIBLE, :VISIBLE] = 0
        self.weight[VISIBLE:, VISIBLE:] = 0
        self.log_z = float(self.log_density(self.states).logsumexp(0))
        self.p = (self.log_density(self.states) - self.log_z).exp()

    def visible(self, x, g):
        return torch.cat([self.units(x, slice(0, VISIBLE), g), x[:, VISIBLE:]], 1)

    def hidden(self, x, g):
        return torch.cat([x[:, :VISIBLE], self.units(x, slice(VISIBLE, None), g)], 1)

    def units(self, x, block, g):
        on = (x @ self.weight + self.bias)[:, block].sigmoid()
        return torch.bernoulli(on, generator=g)

    def matrix(self):
        """The transition matrix of the visible units given the hidden ones, then the hidden units."""
        joint = self.p.view(2**VISIBLE, 2**HIDDEN)
        given_hidden, given_visible = joint / joint.sum(0), joint / joint.sum(1, keepdim=True)
        after = given_hidden.T[:, :, None] * given_visible  # (hidden before, visible after, hidden after)
        return after.flatten(1).repeat(2**VISIBLE, 1)  # the visible units before do not matter


def test_transitions_are_as_frequent_as_in_the_exact_matrix():
    rbm = RBM()
    matrix = rbm.matrix()
    torch.testing.assert_close(rbm.p @ matrix, rbm.p, atol=1e-10, rtol=0)
    kernel = BlockGibbs([rbm.visible, rbm.hidden])
    for start in (0, 77):
        after = rbm.index(kernel.step(kernel.start(rbm.at(start, 200_000)), generator(start)).x)
        assert_frequencies(after, matrix[start])
        assert total_variation(after, rbm.p) > 0.05


def test_a_long_run_has_the_distribution():
    rbm = RBM()
    kernel = BlockGibbs([rbm.visible, rbm.hidden])
    result = run_chains(kernel, torch.zeros(2000, VISIBLE + HIDDEN, dtype=torch.double), draws=50, burn_in=50)
    effective = min(float(result.effective_sample_size("mean").min()), 1e5)
    assert effective > 2e4
    assert_distributed(rbm.index(result.values), rbm.p, effective)


def test_errors():
    with pytest.raises(ValueError, match="samplers is empty"):
        BlockGibbs([])
    same = lambda x, g: x  # noqa: E731
    for wrong, message in [
        (lambda x, g: x[:, :1], r"the result of sampler 1 has shape \(2, 1\), must be \(2, 3\)"),
        (lambda x, g: x.double(), "the result of sampler 1 has dtype torch.float64, must be torch.float32"),
    ]:
        kernel = BlockGibbs([same, wrong])
        with pytest.raises(ValueError, match=message):
            kernel.step(kernel.start(torch.zeros(2, 3)), generator(0))
