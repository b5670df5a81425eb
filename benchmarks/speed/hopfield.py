"""Asynchronous recall of a Hopfield network with 1000 units, beside a numpy loop over units.

The network stores 50 random patterns with Hebb's rule, and recalls them from 10 % noise. The loop goes through the
units in the same random order, computes the whole field of each, and ends when no unit changes in a sweep. Both must
end in the same states, bit for bit. The time of danlu includes the checks of the values and all fields at the begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.data.base.sign_flips import flip_signs
from danlu.models import Hopfield
from danlu.rng import generator

UNITS, PATTERNS, NOISE, PAIRS = 1000, 50, 0.1, 15
STATES = {1: 20, 50: 1}
"""number of states: repetitions of a measurement"""
TARGET = 3.0


def run() -> Iterator[Row]:
    """A row for one state and one for many, in ms of processor time for each state on one thread."""
    torch.set_num_threads(1)
    patterns = torch.randint(0, 2, (PATTERNS, UNITS), generator=generator("benchmark")).double() * 2 - 1
    model = Hopfield((UNITS,), PATTERNS)
    model.store(patterns)
    for n, repeats in STATES.items():
        yield _row(model, flip_signs(patterns[:n], NOISE, "benchmark"), repeats)


def _row(model: Hopfield, x: torch.Tensor, repeats: int) -> Row:
    weights, states, n = model.memory.weights.numpy(), x.numpy(), len(x)
    equal = np.array_equal(model.recall(x).numpy(), np.stack([numpy_recall(weights, state) for state in states]))
    ours = _time(lambda: model.recall(x), repeats, n)
    theirs = _time(lambda: [numpy_recall(weights, state) for state in states], max(1, repeats // 4), n)
    found = compared(alternate(theirs, ours, PAIRS))
    return Row(
        name=f"hopfield-recall-{n}",
        peer=f"loop over units, numpy {np.__version__}",
        unit="ms a state",
        **found,
        target=f"at least {TARGET:g} times as fast, with equal states",
        met=found["ratio"] >= TARGET and equal,
        notes=f"{n} states of {UNITS} units, {PATTERNS} patterns, {100 * NOISE:g} % noise; states are "
        f"{'equal' if equal else 'NOT equal'} bit for bit",
    )


def numpy_recall(weights: np.ndarray, state: np.ndarray) -> np.ndarray:
    """The recall of one state with the full field of each unit."""
    state, changed, sweep = state.copy(), True, 0
    while changed:
        changed = False
        for unit in torch.randperm(len(state), generator=generator("recall", 0, sweep)).tolist():
            field = weights[unit] @ state
            if field * state[unit] < 0:
                state[unit] = -state[unit]
                changed = True
        sweep += 1
    return state


def _time(work: Callable[[], object], repeats: int, states: int) -> Callable[[], float]:
    return lambda: cpu_seconds(lambda: [work() for _ in range(repeats)]) / repeats / states * 1000
