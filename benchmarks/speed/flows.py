"""Training steps of flows in the plane, beside normflows with the same functions.

The planar flow has 32 layers, and is fitted to the energy U₁ by variational inference: 512 samples, their densities,
the gradient and a step of Adam. RealNVP has 32 couplings with networks of two hidden layers of 64 units, trained by
maximum likelihood on 512 points. Before the times are taken, both sides have the same weights and must have the same
outputs. normflows has no bounded log-scales: it gets them in the comparison of outputs, and not while time is taken,
where its network has one operation less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.data import ENERGIES
from danlu.models import Flow
from danlu.nn import Chain, Coupling, CouplingMLP, Inverse, Planar

POINTS, LAYERS, HIDDEN, LR = 512, 32, (64, 64), 1e-3
PAIRS, THEIR_STEPS, OUR_STEPS = 9, 10, 40


def run() -> Iterator[Row]:
    """Two rows, in ms a step of processor time on one thread."""
    torch.set_num_threads(1)
    yield _row("planar", 5, *_planar_steps())
    yield _row("realnvp", 3, *_coupling_steps())


def _row(name: str, target: float, theirs: Callable[[], Tensor], ours: Callable[[], Tensor]) -> Row:
    times = compared(alternate(partial(_time, theirs, THEIR_STEPS), partial(_time, ours, OUR_STEPS), PAIRS))
    return Row(
        name=name,
        peer=f"normflows {version('normflows')}",
        unit="ms a step",
        **times,
        target=f"at least {target} times as fast",
        met=times["ratio"] >= target,
        notes=f"{POINTS} points in the plane, {LAYERS} layers; outputs and log-determinants are equal to 1e-5; Adam, "
        "fused for danlu as in its trainer",
    )


def _time(step: Callable[[], Tensor], steps: int) -> float:
    return cpu_seconds(lambda: [step() for _ in range(steps)]) / steps * 1000


def _optimized(module: nn.Module, loss: Callable[[], Tensor], fused: bool = False) -> Callable[[], Tensor]:
    """A training step; danlu's trainer has fused optimizers."""
    optimizer = torch.optim.Adam(module.parameters(), LR, fused=fused)

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value

    return step


def _planar_steps() -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    import normflows

    torch.manual_seed(0)
    base = normflows.distributions.base.DiagGaussian(2, trainable=False)
    theirs: Any = normflows.NormalizingFlow(base, [normflows.flows.Planar((2,)) for _ in range(LAYERS)])
    planar = Planar(2, LAYERS)
    with torch.no_grad():
        for k, layer in enumerate(theirs.flows):
            planar.weight[k], planar.direction[k], planar.bias[k] = layer.w[0], layer.u[0], layer.b[0]
    z = torch.randn(POINTS, 2)
    x, total = z, torch.zeros(POINTS)
    for layer in theirs.flows:
        x, log_det = layer(x)
        total = total + log_det
    torch.testing.assert_close(planar.inverse(z), (x, total), rtol=1e-5, atol=1e-5)
    ours, energy = Flow((2,), planar), ENERGIES["u1"].energy

    def free_energy(x: Tensor, log_prob: Tensor) -> Tensor:
        return (log_prob + energy(x)).mean()

    return (
        _optimized(theirs, lambda: free_energy(*theirs.sample(POINTS))),
        _optimized(ours, lambda: free_energy(*ours.decode_with_log_prob(ours.prior(POINTS))), fused=True),
    )


def _coupling_steps() -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    import normflows

    torch.manual_seed(0)
    networks = [normflows.nets.MLP([1, *HIDDEN, 2], init_zeros=False) for _ in range(LAYERS)]
    x = torch.randn(POINTS, 2)
    ours = Flow((2,), Chain(_coupling(network, k % 2 == 0) for k, network in enumerate(reversed(networks))))
    bounded = _their_flow(normflows, [_Bounded(network) for network in networks])
    torch.testing.assert_close(ours.log_prob(x), bounded.log_prob(x), rtol=1e-5, atol=1e-5)
    theirs = _their_flow(normflows, networks)
    return (
        _optimized(theirs, lambda: -theirs.log_prob(x).mean()),
        _optimized(ours, lambda: -ours.log_prob(x).mean(), fused=True),
    )


def _coupling(network: Any, swap: bool) -> Inverse:
    """The coupling with the weights of a network of normflows, whose last layer has the outputs in another order."""
    coupling = Coupling(2, partial(CouplingMLP, hidden=HIDDEN), swap)
    theirs, ours = ([layer for layer in net.modules() if isinstance(layer, nn.Linear)] for net in (network, coupling))
    for source, layer in zip(theirs, ours, strict=True):
        layer.load_state_dict(source.state_dict())
    with torch.no_grad():
        for parameter in ours[-1].parameters():
            parameter.copy_(parameter.flip(0))
    return Inverse(coupling)


def _their_flow(normflows: Any, networks: list[Any]) -> Any:
    """Couplings with a swap of both values after each one, as in normflows' examples."""
    flows = [
        part
        for network in networks
        for part in (normflows.flows.AffineCouplingBlock(network), normflows.flows.Permute(2, mode="swap"))
    ]
    return normflows.NormalizingFlow(normflows.distributions.base.DiagGaussian(2, trainable=False), flows)


class _Bounded(nn.Module):
    """The network of normflows, with tanh on the log-scale."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        shift, log_scale = self.network(x).unbind(1)
        return torch.stack([shift, log_scale.tanh()], 1)
