"""Batch norm ties the samples of a batch together, virtual batch norm does not (notes, 2.2.4.2).

DCGAN's generator of colored digits, ink of any hue on black, learns with batch norm or with virtual batch norm, in
batches of 16, against one and the same critic. Then it makes many batches in training mode, from independent codes, and
of each picture are taken the brightness and the red less the blue. Were pictures independent, the means of batches
would vary as much as the variance within batches, divided by their size, says: the ratio of the two is 1. Above 1 a
batch is of one hue, as the notes have it; below 1 its pictures share out the hues among themselves. Beside it, how much
one code's picture changes with its companions, as a share of all variance. Three seeds.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Literal, cast

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import from_seed, spread
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import Adversarial
from danlu.training.optimization import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, LATENT, WIDTH, BATCH = (3, 8, 8), 16, 16, 16
NORMS: dict[str, Literal["batch", "virtual"]] = {"batch norm": "batch", "virtual batch norm": "virtual"}
STATISTICS = ("brightness", "red less blue")
FORMS = {"ratio": ".2f", "share": ".1%"}  # in the table
DOUBT = 1e-4  # how rarely independent pictures give a ratio beyond the limits, on either side
FREE = 1e-6  # share of variance that rounding may seem to owe to companions
SHOWN, COMPANIES = 12, 8  # codes, and batches in which each is shown


def colored(seed: int) -> Part:
    """The training digits, the ink of each in a hue of its own."""
    x = digits().train["image"]
    hues = torch.rand(len(x), generator=generator_of("hues", seed)).tolist()
    inks = torch.tensor([colorsys.hsv_to_rgb(hue, 1.0, 1.0) for hue in hues])
    return Part({"image": x * inks[:, :, None, None]})


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """Ratios and shares by norm and seed, and of the first a few codes in several batches."""
    seeds = range(seed, seed + (1 if quick else 3))
    rounds, batches = (40, 200) if quick else (400, 1000)
    numbers: Numbers = {"batch": BATCH, "batches": batches, "runs": {name: [] for name in NORMS}, "codes": {}}
    for done, (name, own) in enumerate((name, own) for name in NORMS for own in seeds):
        tell("generators", done, len(NORMS) * len(seeds))
        made = _learn(NORMS[name], rounds, own)
        numbers["runs"][name].append(tied(made, batches, own))
        if own == seed:
            numbers["codes"][name] = statistics(in_company(made, SHOWN, COMPANIES, own))[..., 1].tolist()
    return numbers


def _learn(norm: Literal["batch", "virtual"], rounds: int, seed: int) -> DCGANGenerator:
    make = lambda: DCGANGenerator(SHAPE, 0, (0.0, 1.0), LATENT, WIDTH, norm=norm, reference=BATCH)  # noqa: E731
    made = cast(DCGANGenerator, from_seed(make, 2 * seed))
    critic = from_seed(lambda: cast(DCGANCritic, DCGANCritic(SHAPE, 0, WIDTH)), 2 * seed + 1)
    descent = OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999))
    for _ in Trainer(Adversarial(made, critic), descent, Shuffled(colored(seed), BATCH, seed), rounds, seed):
        pass
    return made.train()


def statistics(pictures: Float[Tensor, "*n 3 h w"]) -> Float[Tensor, "*n 2"]:
    """Brightness, and red less blue, of each picture."""
    red, green, blue = pictures.mean((-2, -1)).unbind(-1)
    return torch.stack([(red + green + blue) / 3, red - blue], dim=-1)


def ratio(values: Float[Tensor, "batches n"]) -> float:
    """Variance of the means of batches over what it would be were the values in them independent.

    >>> ratio(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), ratio(torch.tensor([[0.0, 0.5], [2.0, 2.5]]))
    (0.0, 32.0)
    """
    return float(values.mean(1).var() * values.shape[1] / values.var(1).mean())


@torch.no_grad()
def in_company(made: DCGANGenerator, codes: int, companies: int, seed: int) -> Float[Tensor, "codes companies ..."]:
    """The pictures of a few codes, each in several batches whose other codes are drawn anew."""
    source = generator_of("companies", seed)
    fixed = torch.randn(codes, LATENT, generator=source)
    batches = torch.randn(codes, companies, BATCH, LATENT, generator=source)
    batches[:, :, 0] = fixed[:, None]
    shown = [made.shown(made(batch))[0] for batch in batches.flatten(0, 1)]
    return torch.stack(shown).unflatten(0, (codes, companies))


@torch.no_grad()
def tied(made: DCGANGenerator, batches: int, seed: int) -> Numbers:
    """Of each statistic the ratio, and the share of its variance that the companions make."""
    codes = torch.randn(batches, BATCH, LATENT, generator=generator_of("batches", seed))
    values = statistics(torch.stack([made.shown(made(batch)) for batch in codes])).double()
    alone = statistics(in_company(made, batches // 10, 20, seed)).double()
    by_companions, by_code = alone.var(1).mean(0), alone.mean(1).var(0)
    return {
        "ratio": {name: ratio(values[..., place]) for place, name in enumerate(STATISTICS)},
        "share": dict(zip(STATISTICS, (by_companions / (by_companions + by_code)).tolist(), strict=True)),
    }


def limits(batches: int) -> tuple[float, float]:
    """Between which the ratio lies if pictures are independent: (batches - 1) times it has a χ² distribution."""
    low, high = stats.chi2.ppf((DOUBT, 1 - DOUBT), batches - 1) / (batches - 1)
    return float(low), float(high)


def judge(numbers: Numbers) -> Verdict:
    """Pictures depend on their companions with batch norm only; and batches are of one hue if the ratio is above 1."""
    low, high = limits(numbers["batches"])
    with_, virtual = (numbers["runs"][name] for name in NORMS)
    both = [[run[what][name] for run in with_ for name in STATISTICS] for what in ("ratio", "share")]
    free = [[run[what][name] for run in virtual for name in STATISTICS] for what in ("ratio", "share")]
    reason = (
        f"With batch norm companions make {min(both[1]):.0%} to {max(both[1]):.0%} of the variance of a picture's "
        f"brightness and hue, with virtual batch norm {'none' if max(free[1]) < FREE else f'{max(free[1]):.0%}'}. "
        f"Means of batches vary {min(both[0]):.2f} to {max(both[0]):.2f} times as much as those of independent "
        f"pictures with batch norm, {min(free[0]):.2f} to {max(free[0]):.2f} times with virtual batch norm "
        f"({low:.2f} to {high:.2f} is chance)."
    )
    independent = max(free[1]) < FREE and all(low <= value <= high for value in free[0])
    if min(both[1]) < FREE or all(low <= value <= high for value in both[0]) or not independent:
        return Verdict("does not hold", reason)
    if min(both[0]) > high:
        return Verdict("holds", reason)
    return Verdict(
        "holds with limits",
        f"{reason} So they are tied, but not to one hue: where the ratio is below 1, the pictures of a batch share out "
        "the hues among themselves, for the norm fixes the mean of a batch.",
    )


def table(numbers: Numbers) -> Table:
    """Ratio and share by norm and statistic."""
    rows: Table = [("norm", "statistic", "between, 1 if independent", "share of companions")]
    for name, runs in numbers["runs"].items():
        for statistic in STATISTICS:
            cells = (spread([run[what][statistic] for run in runs], form) for what, form in FORMS.items())
            rows.append((name, statistic, *cells))
    return rows


def draw(numbers: Numbers) -> Figure:
    """The hue of a few codes' pictures, each in several batches, and the ratios."""
    from danlu.experiments.harness.plots import colors, panels, quiet

    figure, (*left, right) = panels(3, height=2.4)
    for number, (axes, (name, codes)) in enumerate(zip(left, numbers["codes"].items(), strict=True)):
        for place, values in enumerate(sorted(codes)):
            axes.plot([place] * len(values), values, "os"[number], color=colors()[number], markersize=2.5, alpha=0.6)
        axes.set(title=name, xlabel=f"codes, each in {len(codes[0])} batches", xticks=[])
        axes.grid(True, axis="y")
    left[0].set_ylabel("red less blue of its picture")
    low, high = limits(numbers["batches"])
    right.axhspan(low, high, color=quiet(), alpha=0.3, linewidth=0)
    for number, (name, runs) in enumerate(numbers["runs"].items()):
        for place, statistic in enumerate(STATISTICS):
            values = [run["ratio"][statistic] for run in runs]
            right.plot([place + 0.2 * (number - 0.5)] * len(values), values, "os"[number], color=colors()[number],
                       markersize=4, label=name if not place else None)  # fmt: skip
    largest = max(value for runs in numbers["runs"].values() for run in runs for value in run["ratio"].values())
    right.set(title="means of batches", xticks=[0, 1], xticklabels=STATISTICS, xlim=(-0.5, 1.5), xlabel="gray: chance")
    right.set(ylabel="variance, 1 if independent", ylim=(0, 1.5 * max(largest, high)))
    right.grid(True, axis="y")
    right.legend(loc="upper left", fontsize=7)
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
