"""MAF with 5 blocks of 1024 hidden units on 784 values, beside zuko and nflows: a training step, and samples.

All have ReLU, the masks of the published code and float32. The blocks of the peers have other functions of the outputs
of their networks: z = e^s x + t, with another bound of s. For the comparison of values their weights are copied into
our networks, and the outputs are converted. Training is maximum likelihood with Adam on batches of 100 normal rows.
Sampling is also compared with our own networks in as many passes as there are values. Freed memory stays with the
process, for all of them, as in danlu's trainer: otherwise a step would spend a sixth of its time on clearing new pages.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.models import MAF
from danlu.nn import MADE, Affine, Autoregressive, Chain, Conditioner, Reverse
from danlu.rng import generator, seeded
from danlu.training.malloc import keep_freed_memory

VALUES, WIDTH, BLOCKS, BATCH, SAMPLES, PAIRS, SLOW_PAIRS = 784, 1024, 5, 100, 10, 15, 3


def run() -> Iterator[Row]:
    """Rows for training steps and for samples, in milliseconds of processor time on one thread."""
    torch.set_num_threads(1)
    keep_freed_memory()
    for build in (_Zuko, _Nflows):
        peer = build()
        apart = _apart(peer)
        yield _step_row(peer, apart)
        yield _sampling_row(peer, apart)
    for hidden in ((WIDTH,), (WIDTH, WIDTH)):
        yield _own_row(hidden)


class _Peer:
    """A flow of another library with new weights.

    Attributes:
        name: name and version of the library.
        flow: its flow, a module.
        networks: the masked linear layers of each block, in order.
    """

    name: str
    flow: nn.Module
    networks: list[list[nn.Linear]]
    reverses_values: bool
    """whether values are reversed between blocks; otherwise the masks are"""

    def log_prob(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def sample(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def converted(self, outputs: Tensor) -> Tensor:
        """μ and a of ours from the outputs for each value, (n, d, 2)."""
        raise NotImplementedError


class _Zuko(_Peer):
    bound = math.log(1000)
    reverses_values = False

    def __init__(self) -> None:
        import zuko

        with seeded("zuko", 0):
            self.flow = zuko.flows.MAF(VALUES, transforms=BLOCKS, hidden_features=(WIDTH,))
        self.name = f"zuko {version('zuko')}"
        self.networks = [_linear(layer) for layer in self.flow.transform.transforms]

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow().log_prob(x)

    def sample(self, z: Tensor) -> Tensor:
        return self.flow().transform.inv(z)

    def converted(self, outputs: Tensor) -> Tensor:
        shift, scale = outputs.unbind(2)
        return torch.stack([-shift * (-scale / (1 + scale.abs() / self.bound)).exp(), -scale], 2)


class _Nflows(_Peer):
    bound = None
    reverses_values = True

    def __init__(self) -> None:
        from nflows.distributions import StandardNormal
        from nflows.flows import Flow
        from nflows.transforms import CompositeTransform, MaskedAffineAutoregressiveTransform, ReversePermutation

        with seeded("nflows", 0):
            blocks = [
                MaskedAffineAutoregressiveTransform(VALUES, WIDTH, num_blocks=0, use_residual_blocks=False)
                for _ in range(BLOCKS)
            ]
        between = [part for block in blocks for part in (block, ReversePermutation(VALUES))][:-1]
        self.flow = Flow(CompositeTransform(between), StandardNormal([VALUES]))
        self.name = f"nflows {version('nflows')}"
        self.networks = [_linear(block) for block in blocks]

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)

    def sample(self, z: Tensor) -> Tensor:
        return self.flow._transform.inverse(z)[0]

    def converted(self, outputs: Tensor) -> Tensor:
        scale = nn.functional.softplus(outputs[..., 0]) + 1e-3
        return torch.stack([-outputs[..., 1] / scale, -scale.log()], 2)


class _Converted(Conditioner):
    """Our network with the outputs of a peer's network."""

    def __init__(self, made: MADE, peer: _Peer):
        super().__init__(made.size, made.outputs)
        self.made, self.converted = made, peer.converted

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.converted(self.made(x, context))


def _step_row(peer: _Peer, apart: float) -> Row:
    x = torch.randn(BATCH, VALUES, generator=generator("maf", 0))
    ours = _maf()
    pairs = alternate(_steps(peer.flow, peer.log_prob, x), _steps(ours, ours.log_prob, x), PAIRS)
    times = compared(pairs)
    target = 2.0
    return Row(
        name=f"maf-step-{peer.name.split()[0]}",
        peer=peer.name,
        unit="ms",
        **times,
        target=f"at least {target:g} times as fast",
        met=times["ratio"] >= target and apart <= 1e-3,
        notes=f"one step with fused Adam for both; products of whole matrices alone take {_products():.0f} ms; with "
        f"the same weights log-densities are {apart:.0e} apart, relatively",
    )


def _steps(module: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], float]:
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        (-log_prob(x).mean()).backward()
        optimizer.step()

    return lambda: cpu_seconds(step) * 1e3


@torch.no_grad()
def _products() -> float:
    """Milliseconds of the matrix products of a step without masks: values, gradients of inputs and of weights."""
    x, h, y = torch.randn(BATCH, VALUES), torch.randn(BATCH, WIDTH), torch.randn(BATCH, 2 * VALUES)
    layers = [(x, torch.randn(WIDTH, VALUES), h), (h, torch.randn(2 * VALUES, WIDTH), y)]

    def multiply() -> None:
        for inputs, weight, outputs in layers * BLOCKS:
            inputs @ weight.t(), outputs @ weight, outputs.t() @ inputs

    return statistics.median(_timed(multiply)() for _ in range(SLOW_PAIRS))


@torch.no_grad()
def _sampling_row(peer: _Peer, apart: float) -> Row:
    z = torch.randn(SAMPLES, VALUES, generator=generator("maf", 1))
    ours = _maf()
    pairs = alternate(_timed(lambda: peer.sample(z)), _timed(lambda: ours.inverse(z)), SLOW_PAIRS)
    times = compared(pairs)
    return Row(
        name=f"maf-sampling-{peer.name.split()[0]}",
        peer=peer.name,
        unit="ms",
        **times,
        target="at least 100 times as fast",
        met=times["ratio"] >= 100 and apart <= 1e-3,
        notes=f"{SAMPLES} samples",
    )


@torch.no_grad()
def _own_row(hidden: tuple[int, ...]) -> Row:
    with seeded("maf", 2):
        made = MADE(VALUES, 2, hidden)
    layer, z = Autoregressive(made, Affine()), torch.randn(SAMPLES, VALUES, generator=generator("maf", 1))
    passes = Autoregressive(_Passes(made), Affine())
    apart = float((layer.inverse(z)[0] - passes.inverse(z)[0]).abs().max())
    pairs = alternate(_timed(lambda: passes.inverse(z)), _timed(lambda: layer.inverse(z)), SLOW_PAIRS)
    times = compared(pairs)
    return Row(
        name=f"made-sampling-{len(hidden)}",
        peer="danlu, as many passes as values",
        unit="ms",
        **times,
        target="at least 20 times as fast",
        met=times["ratio"] >= 20 and apart <= 1e-3,
        notes=f"{SAMPLES} samples of one block with {len(hidden)} hidden layer{'s' * (len(hidden) > 1)} of {WIDTH} "
        f"units; values are {apart:.0e} apart",
    )


class _Passes(Conditioner):
    """A network without its sequential evaluation."""

    def __init__(self, made: MADE):
        super().__init__(made.size, made.outputs)
        self.made = made

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.made(x, context)


def _timed(work: Callable[[], Any]) -> Callable[[], float]:
    return lambda: cpu_seconds(work) * 1e3


def _maf() -> MAF:
    with seeded("maf", 0):
        return MAF((VALUES,), BLOCKS, (WIDTH,), batch_norm=False)


def _linear(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


@torch.no_grad()
def _apart(peer: _Peer) -> float:
    """The largest relative difference of log-densities with the peer's weights."""
    layers = []
    for number, linear in enumerate(peer.networks):
        made = MADE(VALUES, 2, (WIDTH,))
        order = torch.arange(VALUES)
        order = order.flip(0) if number % 2 and not peer.reverses_values else order
        rows = (torch.arange(WIDTH) % (VALUES - 1)).argsort(stable=True)
        outputs = torch.stack([2 * order, 2 * order + 1], 1).flatten()
        for target, source, row, column in zip(
            (*made.hidden, made.output), linear, (rows, outputs), (order, rows), strict=True
        ):
            target.weight.copy_(source.weight[row][:, column])
            target.bias.copy_(source.bias[row])
        layers += [Reverse()] * bool(number) + [Autoregressive(_Converted(made, peer), Affine(peer.bound))]
    x = torch.randn(BATCH, VALUES, generator=generator("maf", 0))
    z, log_det = Chain(layers)(x)
    ours = log_det - 0.5 * (z.square().sum(1) + VALUES * math.log(2 * math.pi))
    theirs = peer.log_prob(x)
    return float(((ours - theirs) / theirs).abs().max())
