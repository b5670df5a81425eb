"""Gradient descent of two players on xy and −xy never converges (notes, 2.2.3.3).

Player x maximizes J = −xy, player y minimizes it; the equilibrium is (0, 0). Both start at distance 1 and are updated
by gradient descent in three ways: simultaneously; alternately, as in GANs; and with extragradient, where each uses the
gradient after a step of both (Korpelevich, "The extragradient method for finding saddle points and other problems",
1976; for GANs Gidel et al., "A variational inequality perspective on generative adversarial networks", 2019). The
factor by which the distance changes per round is known for simultaneous updates, √(1 + η²), and for extragradient,
√(1 − η² + η⁴).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch, Shuffled
from danlu.data.base.dataset import Part
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
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
CONVERGED = 0.05  # a method has converged if its distance stays below this fraction of the initial one


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
    return {
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


def verdict(numbers: Numbers) -> Verdict:
    """Holds if no update scheme converges at every learning rate."""
    finals = {scheme: [final_range(results) for results in numbers["distances"][scheme].values()] for scheme in SCHEMES}
    converged = [scheme for scheme in SCHEMES if all(high < CONVERGED for _, high in finals[scheme])]
    distances_text = "; ".join(
        f"{SCHEME_NAMES[scheme]} {min(low for low, _ in results):.2g} to {max(high for _, high in results):.2g}"
        for scheme, results in finals.items()
    )
    mean = max(numbers["averages"]["in turns"].values())
    reason = (
        f"Distance from the equilibrium in the last tenth of {numbers['rounds'][-1]} rounds (initially 1), over all "
        f"learning rates: {distances_text}."
    )
    if not converged:
        return Verdict("holds", reason)
    if set(converged) == {"looking ahead"}:
        return Verdict(
            "holds with limits",
            f"{reason} Plain gradient descent never converges: simultaneous updates diverge, alternating updates cycle "
            f"around the equilibrium (the mean position is {mean:.2g} away). The cause is the method, not the "
            "objective: extragradient converges.",
        )
    return Verdict("does not hold", f"{reason} Plain gradient descent converges.")


def table(numbers: Numbers) -> Table:
    """Distance from the equilibrium by update scheme, learning rate and rounds."""
    rounds = numbers["rounds"]
    shown = [0, len(rounds) // 20, len(rounds) // 4, len(rounds) // 2, len(rounds) - 1]
    rows: Table = [("updates", "learning rate", *(f"round {rounds[p]}" for p in shown), "mean position")]
    for scheme, results in numbers["distances"].items():
        for rate, distances in results.items():
            columns = (f"{distances[p]:.3g}" for p in shown)
            rows.append((SCHEME_NAMES[scheme], rate, *columns, f"{numbers['averages'][scheme][rate]:.2g}"))
    return rows


def plot(numbers: Numbers) -> Figure:
    """Trajectories of the three update schemes over 150 rounds, and their distances."""
    from danlu.experiments.harness.plots import colors, logarithmic, panels, secondary_color

    figure, (*maps, right) = panels(4, height=1.85, width_ratios=(1, 1, 1, 1.5))
    for number, (panel, (scheme, path)) in enumerate(zip(maps, numbers["paths"].items(), strict=True)):
        x, y = zip(*path, strict=True)
        panel.plot(x, y, color=colors()[number], linewidth=0.9)
        panel.plot(x[0], y[0], "o", color=colors()[number], markersize=4)
        panel.plot(0, 0, "+", color="black", markersize=7)
        panel.set(
            title=SCHEME_NAMES[scheme],
            xlabel="x",
            xticks=(-2, 0, 2),
            yticks=(-2, 0, 2),
            xlim=(-2.3, 2.3),
            ylim=(-2.3, 2.3),
        )
    maps[0].set_ylabel("y")
    for number, (scheme, results) in enumerate(numbers["distances"].items()):
        right.plot(numbers["rounds"], results[str(SHOWN)], color=colors()[number], label=SCHEME_NAMES[scheme])
    right.axhline(1, color=secondary_color(), linewidth=0.7, linestyle=(0, (3, 2)))
    logarithmic(right.yaxis)
    right.set(title="distance from +", xlabel=f"rounds, learning rate {SHOWN}")
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
