"""What the trainer costs a turn over a loop written by hand: a small MLP, batches of 32, AdamW, no clipping."""

from __future__ import annotations

import statistics

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Row, alternate, cpu_seconds, quartiles
from danlu.data import Part, Shuffled
from danlu.tasks import Supervised
from danlu.training import OptimizerSettings, Trainer

EXAMPLES, BATCH, STEPS = 1024, 32, 500


def run() -> list[Row]:
    """One row, in microseconds a turn of processor time on one thread."""
    torch.set_num_threads(1)
    x, y = torch.randn(EXAMPLES, 64), torch.randint(0, 10, (EXAMPLES,))
    _same_weights(x, y)
    pairs = alternate(lambda: _by_hand(x, y)[0], lambda: _by_danlu(x, y)[0], pairs=31)
    difference = statistics.median(b - a for a, b in pairs)
    row = Row(
        name="overhead",
        peer=f"plain torch {torch.__version__}",
        unit="µs a turn",
        theirs=statistics.median(a for a, _ in pairs),
        ours=statistics.median(b for _, b in pairs),
        ratio=None,
        spread=quartiles([b - a for a, b in pairs]),
        difference=difference,
        target="less than 50 µs a turn more than the loop by hand",
        met=difference < 50,
        notes="danlu's turn includes the gradient norm and the check for NaN, the loop's does not",
    )
    return [row]


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def _by_hand(x: torch.Tensor, y: torch.Tensor, order: list[torch.Tensor] | None = None) -> tuple[float, nn.Module]:
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0, fused=True)

    def loop() -> None:
        for step in range(STEPS):
            place = step % (EXAMPLES // BATCH)
            if place == 0:
                permutation = order[step * BATCH // EXAMPLES] if order else torch.randperm(EXAMPLES)
            index = permutation[place * BATCH : (place + 1) * BATCH]
            loss = F.cross_entropy(network(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return cpu_seconds(loop) / STEPS * 1e6, network


def _by_danlu(x: torch.Tensor, y: torch.Tensor) -> tuple[float, nn.Module]:
    network = _network()
    stream = Shuffled(Part({"x": x, "label": y}), BATCH)
    trainer = Trainer(Supervised(network, inputs="x"), OptimizerSettings(lr=1e-3), stream, rounds=STEPS)

    def loop() -> None:
        for _ in trainer:
            pass

    return cpu_seconds(loop) / STEPS * 1e6, network


def _same_weights(x: torch.Tensor, y: torch.Tensor) -> None:
    """Both end with the same weights, up to rounding, when they see the same batches."""
    stream = Shuffled(Part({"x": x, "label": y}), EXAMPLES)
    epochs = -(-STEPS * BATCH // EXAMPLES)
    order = [stream.batch(epoch, slice(0, EXAMPLES)).numbers for epoch in range(epochs)]
    (_, theirs), (_, ours) = _by_hand(x, y, order), _by_danlu(x, y)
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
