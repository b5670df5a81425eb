"""Two players who pull at −xy never settle (notes, 2.2.3.3).

x wants J = −xy large, y wants it small, and (0, 0) is where neither can do better. They start one length away from
there and move by gradient descent, in three ways: at the same time; in turns, as GANs do; and looking ahead, where each
goes down the slope that it would find after a step of both (Korpelevich, "The extragradient method for finding saddle
points and other problems", 1976; for GANs Gidel et al., "A variational inequality perspective on generative adversarial
networks", 2019). By what factor the distance from there changes in a round is known for the first and the last: √(1 +
η²) and √(1 − η² + η⁴).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.losses.per_example import per_example
from danlu.rng.keys import generator
from danlu.tasks.task import Descend, Task, Terms, Turn, Update
from danlu.training.optimization import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Way = Literal["at the same time", "in turns", "looking ahead"]
WAYS: tuple[Way, ...] = ("at the same time", "in turns", "looking ahead")
RATES = (0.1, 0.2, 0.4)
SHOWN = 0.1
ROUNDS = 1000  # looking ahead at the smallest rate is then at (1 − 0.1² + 0.1⁴)^500 = 0.007
SETTLED = 0.05  # of the first distance: who has come nearer than this, and stays there, settles


class Pulled(nn.Module):
    """A player: one number."""

    def __init__(self, start: float):
        super().__init__()
        self.at = nn.Parameter(torch.tensor([start], dtype=torch.float64))


class TugOfWar(Task):
    """x minimizes xy and y minimizes −xy.

    Args:
        x: where x starts.
        y: where y starts.
        way: against which place of the other each moves.
        rate: learning rate, for looking ahead.
    """

    def __init__(self, x: float, y: float, way: Way, rate: float):
        super().__init__()
        self.x, self.y, self.way, self.rate = Pulled(x), Pulled(y), way, rate
        self.register_buffer("other_x", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("other_y", torch.zeros(1, dtype=torch.float64))

    def players(self) -> dict[str, nn.Module]:
        return {"x": self.x, "y": self.y}

    def turns(self, round: int) -> list[Turn]:
        moves: list[Turn] = [Descend("x", self.pull_x), Descend("y", self.pull_y)]
        if self.way == "in turns":
            return moves
        return [Update(self.look, fresh=True), *moves]

    def look(self, batch: Batch) -> None:
        """Where each will meet the other: here, or after a step of both."""
        x, y = self.x.at, self.y.at
        ahead = self.rate if self.way == "looking ahead" else 0.0
        self.get_buffer("other_x").copy_(x - ahead * y)
        self.get_buffer("other_y").copy_(y + ahead * x)

    def pull_x(self, batch: Batch) -> Terms:
        """xy, to be made small by x."""
        return {"xy": per_example(self.x.at * self._met("y"), len(batch))}

    def pull_y(self, batch: Batch) -> Terms:
        """−xy, to be made small by y."""
        return {"minus_xy": per_example(-self._met("x") * self.y.at, len(batch))}

    def _met(self, who: str) -> Tensor:
        if self.way == "in turns":
            return self.players()[who].at.detach()  # type: ignore[union-attr]
        return self.get_buffer(f"other_{who}")


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Where both are after each round, by way and rate, from a random direction."""
    angle = float(2 * torch.pi * torch.rand(1, generator=generator("start", seed), dtype=torch.float64))
    rounds = 300 if quick else ROUNDS
    runs: list[tuple[Way, float]] = [(way, rate) for way in WAYS for rate in RATES]
    distances: Numbers = {way: {} for way in WAYS}
    averages: Numbers = {way: {} for way in WAYS}
    paths: Numbers = {}
    for done, (way, rate) in enumerate(runs):
        tell("games", done, len(runs))
        path = played(way, rate, rounds, angle)
        distances[way][str(rate)] = path.norm(dim=1)[:: rounds // 100].tolist()
        averages[way][str(rate)] = float(path.mean(0).norm())
        if rate == SHOWN:
            paths[way] = path[:150].tolist()
    return {
        "rounds": list(range(0, rounds + 1, rounds // 100)),
        "distances": distances,
        "averages": averages,
        "paths": paths,
    }


def played(way: Way, rate: float, rounds: int, angle: float) -> Tensor:
    """x and y after 0, 1, 2, … rounds, (rounds + 1, 2)."""
    x, y = (float(part) for part in (torch.tensor(angle).cos(), torch.tensor(angle).sin()))
    task = TugOfWar(x, y, way, rate)
    nothing = Shuffled(Part({"x": torch.zeros(1)}), 1)
    descent = OptimizerSettings(optimizer="sgd", lr=rate)
    trainer = Trainer(task, descent, nothing, rounds, runtime=Runtime(precision="float64"))
    seen = [torch.cat([task.x.at, task.y.at]).detach().clone()]
    seen += [torch.cat([task.x.at, task.y.at]).detach().clone() for _ in trainer]
    return torch.stack(seen)


def kept(distances: list[float]) -> tuple[float, float]:
    """Smallest and largest distance in the last tenth of the rounds, in first distances."""
    late = distances[-max(1, len(distances) // 10) :]
    return min(late) / distances[0], max(late) / distances[0]


def judge(numbers: Numbers) -> Verdict:
    """A way settles if it has come near at every rate; the claim is that none does."""
    ends = {way: [kept(found) for found in numbers["distances"][way].values()] for way in WAYS}
    settled = [way for way in WAYS if all(high < SETTLED for _, high in ends[way])]
    said = "; ".join(
        f"{way} {min(low for low, _ in found):.2g} to {max(high for _, high in found):.2g}"
        for way, found in ends.items()
    )
    mean = max(numbers["averages"]["in turns"].values())
    reason = (
        f"Distance from the equilibrium in the last tenth of {numbers['rounds'][-1]} rounds, 1 in the beginning, over "
        f"all rates: {said}."
    )
    if not settled:
        return Verdict("holds", reason)
    if set(settled) == {"looking ahead"}:
        return Verdict(
            "holds with limits",
            f"{reason} Plain descent never settles: at the same time it flies off, in turns it circles for "
            f"ever, though around the equilibrium (the mean of its places is {mean:.2g} away). But that is the method "
            "and not the game: who looks a step ahead settles.",
        )
    return Verdict("does not hold", f"{reason} Plain descent settles.")


def table(numbers: Numbers) -> Table:
    """Distance from the equilibrium by way, rate and rounds."""
    rounds = numbers["rounds"]
    places = [0, len(rounds) // 20, len(rounds) // 4, len(rounds) // 2, len(rounds) - 1]
    rows: Table = [("players move", "rate", *(f"round {rounds[p]}" for p in places), "mean of all places")]
    for way, found in numbers["distances"].items():
        for rate, distances in found.items():
            columns = (f"{distances[p]:.3g}" for p in places)
            rows.append((way, rate, *columns, f"{numbers['averages'][way][rate]:.2g}"))
    return rows


def draw(numbers: Numbers) -> Figure:
    """The three ways over 150 rounds, and their distances."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, quiet

    figure, (*maps, right) = panels(4, height=1.85, width_ratios=(1, 1, 1, 1.5))
    for number, (panel, (way, path)) in enumerate(zip(maps, numbers["paths"].items(), strict=True)):
        x, y = zip(*path, strict=True)
        panel.plot(x, y, color=colors()[number], linewidth=0.9)
        panel.plot(x[0], y[0], "o", color=colors()[number], markersize=4)
        panel.plot(0, 0, "+", color="black", markersize=7)
        panel.set(title=way, xlabel="x", xticks=(-2, 0, 2), yticks=(-2, 0, 2), xlim=(-2.3, 2.3), ylim=(-2.3, 2.3))
    maps[0].set_ylabel("y")
    for number, (way, found) in enumerate(numbers["distances"].items()):
        right.plot(numbers["rounds"], found[str(SHOWN)], color=colors()[number], label=way)
    right.axhline(1, color=quiet(), linewidth=0.7, linestyle=(0, (3, 2)))
    logarithmic(right.yaxis)
    right.set(title="distance from +", xlabel=f"rounds, rate {SHOWN}")
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
