"""What the sequential evaluation of every conditioner must satisfy: it equals full passes."""

import torch

from danlu.nn import Conditioner


def assert_generates_like_full_passes(net, noise, context):
    """The entries, and the outputs for each of them."""

    def step(i, outputs):
        seen.append(outputs.clone())
        return noise[:, i] + outputs.sin().sum(1)

    found = []
    for generate in (net.generate, lambda *x: Conditioner.generate(net, *x)):
        seen = []
        found.append((generate(step, noise, context), torch.stack(seen)))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    (x, outputs), _ = found
    torch.testing.assert_close(net(x, context).transpose(0, 1), outputs, rtol=1e-12, atol=1e-12)


def assert_solves_backward_like_full_passes(net, x, context, tolerance):
    """The gradient of each entry."""

    def step(i, of_entry):
        seen.append(of_entry.clone())
        return torch.stack([of_entry + i + k for k in range(net.outputs)], 1)

    found = []
    for backsolve in (net.backsolve, lambda *x: Conditioner.backsolve(net, *x)):
        seen = []
        backsolve(step, x, context)
        found.append(torch.stack(seen))
    torch.testing.assert_close(*found, rtol=tolerance, atol=tolerance)
    assert len(x) == 0 or net.size == 1 or found[0].any()


def assert_uses_current_weights(net, noise):
    """Nothing that depends on the weights is kept from one evaluation to the next."""
    step = lambda i, outputs: noise[:, i] + outputs[:, 0]  # noqa: E731
    before = net.generate(step, noise)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)
    after = net.generate(step, noise)
    torch.testing.assert_close(after, Conditioner.generate(net, step, noise))
    assert not torch.allclose(before, after)
