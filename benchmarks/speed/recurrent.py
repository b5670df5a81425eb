"""Two layers of 200 units over 20 steps of 20 rows, forward and backward: the variants beside torch's LSTM.

No variant is in torch, so the peer computes something else: its LSTM is the fused kernel that one would use instead.
What is equal is checked first, on weights with which a variant is one of torch's kinds: peepholes of 0; a forget gate
with the input gate's weights turned round, which is 1 - i; a reset gate that a large bias holds at 1.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.nn import Recurrent
from danlu.rng import generator

WIDTH, LAYERS, STEPS, ROWS, REPEATS, PAIRS, TARGET = 200, 2, 20, 20, 10, 15, 0.67
KINDS: dict[str, dict[str, Any]] = {
    "peephole": {"kind": "peephole"},
    "coupled": {"kind": "coupled"},
    "gru-notes": {"kind": "gru", "reset": "notes"},
    "gru-before": {"kind": "gru", "reset": "before"},
}


def run() -> list[Row]:
    """A row for each variant, in milliseconds of processor time on one thread."""
    torch.set_num_threads(1)
    return [_row(name, how) for name, how in KINDS.items()]


def _row(name: str, how: dict[str, Any]) -> Row:
    torch.manual_seed(0)
    x, weights = (torch.randn(ROWS, STEPS, WIDTH, generator=generator("recurrent", k)) for k in range(2))
    x.requires_grad_()
    ours, theirs = Recurrent(WIDTH, WIDTH, layers=LAYERS, **how), nn.LSTM(WIDTH, WIDTH, LAYERS, batch_first=True)
    apart = _apart(name, x, weights)
    pairs = alternate(_timed(theirs, x, weights), _timed(ours, x, weights), PAIRS)
    found = compared(pairs)
    speed = statistics.median(ROWS * STEPS / b * 1e3 for _, b in pairs)
    return Row(
        name=f"recurrent-{name}",
        peer=f"torch.nn.LSTM {torch.__version__}",
        unit="ms",
        **found,
        target=f"at least {TARGET} times as fast as the LSTM, which is another function",
        met=found["ratio"] >= TARGET and apart <= 1e-5,
        notes=f"{speed:.0f} entries a second; on weights with which it is one of torch's kinds outputs and gradients "
        f"are {apart:.0e} apart",
    )


def _timed(net: nn.Module, x: Tensor, weights: Tensor) -> Callable[[], float]:
    def steps() -> None:
        for _ in range(REPEATS):
            net.zero_grad()
            x.grad = None
            net(x)[0].backward(weights)

    return lambda: cpu_seconds(steps) / REPEATS * 1e3


@torch.no_grad()
def _twins(name: str) -> tuple[Recurrent, nn.Module]:
    """A variant and one of torch's kinds with weights that make them the same function."""
    gru = name.startswith("gru")
    ours = Recurrent(WIDTH, WIDTH, layers=LAYERS, **KINDS[name])
    theirs = (nn.GRU if gru else nn.LSTM)(WIDTH, WIDTH, LAYERS, batch_first=True)
    for key, mine in ours.named_parameters():
        if key.startswith("peephole"):
            mine.zero_()
            continue
        if key.startswith("bias") and gru:
            mine[:WIDTH] = 50.0  # the sigmoid of which is 1 in float32
        there, blocks = theirs.get_parameter(key), list(mine.split(WIDTH))
        if name == "coupled":
            blocks.insert(1, -blocks[0])
        if name == "gru-notes":
            blocks[1] = -blocks[1]  # its z is the other's 1 - z
        there.copy_(torch.cat(blocks))
    return ours, theirs


def _apart(name: str, x: Tensor, weights: Tensor) -> float:
    """The largest difference of outputs and gradients, relative to the largest value where that is above 1."""
    found = []
    for net in _twins(name):
        outputs = net(x)[0]
        by_input, by_matrix = torch.autograd.grad(outputs, [x, net.weight_hh_l1], weights)
        found.append([outputs.detach(), by_input, *by_matrix.split(WIDTH)])
    if name == "coupled":  # one parameter of ours is two of theirs
        found[1][2] -= found[1].pop(3)
    if name == "gru-notes":
        found[1][3] *= -1
    ours, theirs = found
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in zip(ours, theirs, strict=True))
