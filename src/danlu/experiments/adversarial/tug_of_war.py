"""Two players on xy and −xy do not reach the equilibrium by gradient descent (notes, 2.2.3.3).

Player x maximizes J = −xy, player y minimizes it; the equilibrium is (0, 0). Both start at distance 1 and are updated
by gradient descent in three ways: simultaneously; alternately, as in GANs; and with extragradient, where each uses the
gradient after a step of both (Korpelevich, "The extragradient method for finding saddle points and other problems",
1976; for GANs Gidel et al., "A variational inequality perspective on generative adversarial networks", 2019). The
factor by which the distance changes per round is known for simultaneous updates, √(1 + η²), and for extragradient,
√(1 − η² + η⁴). The point reaches the equilibrium if its distance stays small: the smallest distance in the last tenth
of the rounds is measured, over all learning rates, and the distance of the mean position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.wording import number
from danlu.losses.per_example import per_example
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn, Update
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scheme = Literal["at the same time", "in turns", "looking ahead"]
SCHEMES: tuple[Scheme, ...] = ("at the same time", "in turns", "looking ahead")
SCHEME_NAMES: dict[str, str] = dict(zip(SCHEMES, ("simultaneous", "alternating", "extragradient"), strict=True))
RATES = (0.1, 0.2, 0.4)
SHOWN = 0.1
ROUNDS = 1000  # extragradient at the smallest rate then reaches (1 − 0.1² + 0.1⁴)^500 = 0.007
FAR = 0.5  # the point has not come near the equilibrium if half of its initial distance remains


class ScalarPlayer(nn.Module):
    """A player with a single parameter."""

    def __init__(self, start: float):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([start], dtype=torch.float64))


class TugOfWar(Task):
    """x minimizes xy and y minimizes −xy.

    Args:
        x: initial value of x.
        y: initial value of y.
        scheme: the update scheme.
        rate: learning rate of the extragradient step.
    """

    def __init__(self, x: float, y: float, scheme: Scheme, rate: float):
        super().__init__()
        self.x, self.y, self.scheme, self.rate = ScalarPlayer(x), ScalarPlayer(y), scheme, rate
        self.register_buffer("other_x", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("other_y", torch.zeros(1, dtype=torch.float64))

    def players(self) -> dict[str, nn.Module]:
        return {"x": self.x, "y": self.y}

    def turns(self, round: int) -> list[Turn]:
        player_turns: list[Turn] = [Descend("x", self.loss_x), Descend("y", self.loss_y)]
        if self.scheme == "in turns":
            return player_turns
        return [Update(self.set_positions, fresh=True), *player_turns]

    def set_positions(self, batch: Batch) -> None:
        """Store the positions for the gradients: the current ones, or those after a step of both."""
        x, y = self.x.value, self.y.value
        step = self.rate if self.scheme == "looking ahead" else 0.0
        self.get_buffer("other_x").copy_(x - step * y)
        self.get_buffer("other_y").copy_(y + step * x)

    def loss_x(self, batch: Batch) -> Terms:
        """The loss xy of player x."""
        return {"xy": per_example(self.x.value * self._position("y"), len(batch))}

    def loss_y(self, batch: Batch) -> Terms:
        """The loss −xy of player y."""
        return {"negative_xy": per_example(-self._position("x") * self.y.value, len(batch))}

    def _position(self, player: str) -> Tensor:
        if self.scheme == "in turns":
            return self.players()[player].value.detach()  # type: ignore[union-attr]
        return self.get_buffer(f"other_{player}")


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Positions after each round, by update scheme and learning rate, from a random direction."""
    angle = float(2 * torch.pi * torch.rand(1, generator=generator("start", seed), dtype=torch.float64))
    rounds = 300 if quick else ROUNDS
    runs: list[tuple[Scheme, float]] = [(scheme, rate) for scheme in SCHEMES for rate in RATES]
    distances: Numbers = {scheme: {} for scheme in SCHEMES}
    averages: Numbers = {scheme: {} for scheme in SCHEMES}
    paths: Numbers = {}
    for done, (scheme, rate) in enumerate(runs):
        progress("update schemes", done, len(runs))
        path = trajectory(scheme, rate, rounds, angle)
        distances[scheme][str(rate)] = path.norm(dim=1)[:: rounds // 100].tolist()
        averages[scheme][str(rate)] = float(path.mean(0).norm())
        if rate == SHOWN:
            paths[scheme] = path[:150].tolist()
    arms = {
        SCHEME_NAMES[scheme]: {
            "final distance": [min(final_range(results)[0] for results in distances[scheme].values())],
            "mean position": [max(averages[scheme].values())],
        }
        for scheme in SCHEMES
    }
    return {
        "arms": arms,
        "rounds": list(range(0, rounds + 1, rounds // 100)),
        "distances": distances,
        "averages": averages,
        "paths": paths,
    }


def trajectory(scheme: Scheme, rate: float, rounds: int, angle: float) -> Tensor:
    """x and y after 0, 1, 2, … rounds, (rounds + 1, 2)."""
    x, y = (float(part) for part in (torch.tensor(angle).cos(), torch.tensor(angle).sin()))
    task = TugOfWar(x, y, scheme, rate)
    stream = Shuffled(Part({"x": torch.zeros(1)}), 1)
    settings = OptimizerSettings(optimizer="sgd", lr=rate)
    trainer = Trainer(task, settings, stream, rounds, runtime=Runtime(precision="float64"))
    positions = [torch.cat([task.x.value, task.y.value]).detach().clone()]
    positions += [torch.cat([task.x.value, task.y.value]).detach().clone() for _ in trainer]
    return torch.stack(positions)


def final_range(distances: list[float]) -> tuple[float, float]:
    """Smallest and largest distance in the last tenth of the rounds, relative to the initial distance."""
    last_tenth = distances[-max(1, len(distances) // 10) :]
    return min(last_tenth) / distances[0], max(last_tenth) / distances[0]


def _stays_away(scheme: Scheme, measure: str, clause: str) -> Comparison:
    return Comparison(clause, SCHEME_NAMES[scheme], 0.0, measure, FAR)


SIMULTANEOUS = _stays_away("at the same time", "final distance", "simultaneous updates stay away from the equilibrium")
ALTERNATING = _stays_away("in turns", "final distance", "alternating updates stay away from the equilibrium")
EXTRAGRADIENT = _stays_away("looking ahead", "final distance", "extragradient stays away from the equilibrium")
AVERAGE = _stays_away("in turns", "mean position", "the mean of alternating positions stays away from the equilibrium")
CRITERIA = Criteria(clauses=(SIMULTANEOUS, ALTERNATING), limits=(EXTRAGRADIENT, AVERAGE))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """Where the two usual ways end; then extragradient and the mean position."""
    ends = {name: number(arm["final distance"][0], 2) for name, arm in numbers["arms"].items()}
    text = (
        f"After {numbers['rounds'][-1]} rounds from distance 1, descent is at least {ends['alternating']} away "
        f"from the equilibrium with alternating updates, and at least {ends['simultaneous']} with simultaneous ones"
    )
    reached = [one for one in (SIMULTANEOUS, ALTERNATING) if not judgment.supported(one.clause)]
    text += f"; it is not shown that {' and that '.join(one.clause for one in reached)}." if reached else "."
    if not judgment.supported(EXTRAGRADIENT.clause):
        largest = max(final_range(results)[1] for results in numbers["distances"]["looking ahead"].values())
        text += (
            " The cause is the method, not the objective: extragradient approaches the equilibrium at every learning "
            f"rate (largest distance {number(largest, 2)})."
        )
    if not judgment.supported(AVERAGE.clause):
        mean = number(numbers["arms"]["alternating"]["mean position"][0], 2)
        text += f" Alternating updates circle around the equilibrium: their mean position is {mean} away from it."
    return text


def table(numbers: Numbers) -> Table:
    """Distance from the equilibrium by update scheme, learning rate and rounds."""
    rounds = numbers["rounds"]
    shown = [0, len(rounds) // 20, len(rounds) // 4, len(rounds) // 2, len(rounds) - 1]
    rows: Table = [
        ("updates", "learning rate", *(f"round {rounds[p]}" for p in shown), "distance of the mean position")
    ]
    for scheme, results in numbers["distances"].items():
        for rate, distances in results.items():
            columns = (number(distances[p]) for p in shown)
            rows.append((SCHEME_NAMES[scheme], rate, *columns, number(numbers["averages"][scheme][rate], 2)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Trajectories of the three update schemes over 150 rounds, and their distances."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, secondary_color

    figure, (*maps, right) = panels(4, height=1.85, width_ratios=(1, 1, 1, 1.5))
    for k, (panel, (scheme, path)) in enumerate(zip(maps, numbers["paths"].items(), strict=True)):
        x, y = zip(*path, strict=True)
        panel.plot(x, y, color=colors()[k], linewidth=0.9)
        panel.plot(x[0], y[0], "o", color=colors()[k], markersize=4)
        panel.plot(0, 0, "+", color="black", markersize=7)
        panel.set(
            title=SCHEME_NAMES[scheme],
            xlabel="x",
            xticks=(-2, 0, 2),
            yticks=(-2, 0, 2),
            xlim=(-2.3, 2.3),
            ylim=(-2.3, 2.3),
            aspect="equal",
        )
    maps[0].set_ylabel("y")
    for k, (scheme, results) in enumerate(numbers["distances"].items()):
        right.plot(numbers["rounds"], results[str(SHOWN)], color=colors()[k], label=SCHEME_NAMES[scheme])
    right.axhline(1, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    logarithmic(right.yaxis)
    right.set(title="distance from +", xlabel=f"rounds, learning rate {SHOWN}")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "Two players with one number each descend on xy and −xy from a random point at distance 1, in three ways and "
        f"at three learning rates. The distance from the equilibrium (0, 0) is measured for {ROUNDS} rounds."
    ),
    caption=(
        f"Paths of both players over 150 rounds at learning rate {SHOWN}, from the dot; the cross is the equilibrium. "
        "Right: their distance from the cross. Simultaneous updates spiral outward, alternating ones circle, "
        "extragradient spirals inward."
    ),
    demonstration=True,
)
