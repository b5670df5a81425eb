"""Batch norm makes the samples of a batch dependent, virtual batch norm does not (notes, 2.2.4.2).

A DCGAN generator of colored digits (ink of any hue on black) is trained with batch norm or with virtual batch norm, in
batches of 16, with the same critic architecture. It then generates many batches in training mode from independent
latents. Two statistics of each image are computed: the brightness, and red minus blue. For independent images, the
variance of the batch means equals the variance within batches divided by the batch size, so the ratio of the two is 1.
Above 1 the images of a batch have a common hue, as the notes state; below 1 they are negatively correlated. The
experiment also measures how much the image of one latent changes with the other latents of its batch, as a fraction of
the total variance. Three seeds.
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
from danlu.experiments.harness.experiment import JudgedExperiment, Numbers, ProgressCallback, Table, Verdict
from danlu.experiments.harness.trainers import from_seed, spread
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import Adversarial
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, LATENT, WIDTH, BATCH = (3, 8, 8), 16, 16, 16
NORMS: dict[str, Literal["batch", "virtual"]] = {"batch norm": "batch", "virtual batch norm": "virtual"}
STATISTICS = ("brightness", "red less blue")
STATISTIC_NAMES = ("brightness", "red minus blue")
FORMS = {"ratio": ".2f", "share": ".1%"}  # number formats in the table
TAIL = 1e-4  # probability that the ratio of independent images is beyond a limit, on either side
ROUNDING = 1e-6  # largest fraction of variance that rounding explains
SHOWN, SHOWN_BATCHES = 12, 8  # latents, and batches in which each one is shown


def colored(seed: int) -> Part:
    """The training digits, each with its own random hue."""
    x = digits().train["image"]
    hues = torch.rand(len(x), generator=generator_of("hues", seed)).tolist()
    inks = torch.tensor([colorsys.hsv_to_rgb(hue, 1.0, 1.0) for hue in hues])
    return Part({"image": x * inks[:, :, None, None]})


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Ratios and fractions by norm and seed; for the first seed, images of a few latents in several batches."""
    seeds = range(seed, seed + (1 if quick else 3))
    rounds, batches = (40, 200) if quick else (400, 1000)
    numbers: Numbers = {"batch": BATCH, "batches": batches, "runs": {name: [] for name in NORMS}, "codes": {}}
    for done, (name, run_seed) in enumerate((name, run_seed) for name in NORMS for run_seed in seeds):
        progress("generators", done, len(NORMS) * len(seeds))
        model = _learn(NORMS[name], rounds, run_seed)
        numbers["runs"][name].append(batch_dependence(model, batches, run_seed))
        if run_seed == seed:
            numbers["codes"][name] = statistics(in_batches(model, SHOWN, SHOWN_BATCHES, run_seed))[..., 1].tolist()
    return numbers


def _learn(norm: Literal["batch", "virtual"], rounds: int, seed: int) -> DCGANGenerator:
    make = lambda: DCGANGenerator(SHAPE, 0, (0.0, 1.0), LATENT, WIDTH, norm=norm, reference=BATCH)  # noqa: E731
    model = cast(DCGANGenerator, from_seed(make, 2 * seed))
    critic = from_seed(lambda: cast(DCGANCritic, DCGANCritic(SHAPE, 0, WIDTH)), 2 * seed + 1)
    settings = OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999))
    for _ in Trainer(Adversarial(model, critic), settings, Shuffled(colored(seed), BATCH, seed), rounds, seed):
        pass
    return model.train()


def statistics(images: Float[Tensor, "*n 3 h w"]) -> Float[Tensor, "*n 2"]:
    """Brightness and red minus blue of each image."""
    red, green, blue = images.mean((-2, -1)).unbind(-1)
    return torch.stack([(red + green + blue) / 3, red - blue], dim=-1)


def ratio(values: Float[Tensor, "batches n"]) -> float:
    """Variance of the batch means, relative to its value for independent images.

    >>> ratio(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), ratio(torch.tensor([[0.0, 0.5], [2.0, 2.5]]))
    (0.0, 32.0)
    """
    return float(values.mean(1).var() * values.shape[1] / values.var(1).mean())


@torch.no_grad()
def in_batches(model: DCGANGenerator, codes: int, shown_batches: int, seed: int) -> Float[Tensor, "codes batches ..."]:
    """Images of a few latents, each in several batches with other random latents."""
    source = generator_of("companies", seed)
    fixed = torch.randn(codes, LATENT, generator=source)
    batches = torch.randn(codes, shown_batches, BATCH, LATENT, generator=source)
    batches[:, :, 0] = fixed[:, None]
    shown = [model.to_data_range(model(batch))[0] for batch in batches.flatten(0, 1)]
    return torch.stack(shown).unflatten(0, (codes, shown_batches))


@torch.no_grad()
def batch_dependence(model: DCGANGenerator, batches: int, seed: int) -> Numbers:
    """For each statistic, the ratio and the fraction of variance due to the other latents of the batch."""
    codes = torch.randn(batches, BATCH, LATENT, generator=generator_of("batches", seed))
    values = statistics(torch.stack([model.to_data_range(model(batch)) for batch in codes])).double()
    alone = statistics(in_batches(model, batches // 10, 20, seed)).double()
    by_batch, by_code = alone.var(1).mean(0), alone.mean(1).var(0)
    return {
        "ratio": {name: ratio(values[..., index]) for index, name in enumerate(STATISTICS)},
        "share": dict(zip(STATISTICS, (by_batch / (by_batch + by_code)).tolist(), strict=True)),
    }


def limits(batches: int) -> tuple[float, float]:
    """Limits of the ratio for independent images: (batches - 1) times the ratio has a χ² distribution."""
    low, high = stats.chi2.ppf((TAIL, 1 - TAIL), batches - 1) / (batches - 1)
    return float(low), float(high)


def verdict(numbers: Numbers) -> Verdict:
    """Holds if only batch norm makes images depend on the rest of the batch, with a ratio above 1."""
    low, high = limits(numbers["batches"])
    batch_norm_runs, virtual = (numbers["runs"][name] for name in NORMS)
    both = [[run[quantity][name] for run in batch_norm_runs for name in STATISTICS] for quantity in ("ratio", "share")]
    free = [[run[quantity][name] for run in virtual for name in STATISTICS] for quantity in ("ratio", "share")]
    reason = (
        f"With batch norm the other images of a batch cause {min(both[1]):.0%} to {max(both[1]):.0%} of the variance "
        "of brightness and hue, with virtual batch norm "
        f"{'none' if max(free[1]) < ROUNDING else f'{max(free[1]):.0%}'}. Relative to independent images, the variance "
        f"of batch means is {min(both[0]):.2f} to {max(both[0]):.2f} with batch norm and {min(free[0]):.2f} to "
        f"{max(free[0]):.2f} with virtual batch norm (chance: {low:.2f} to {high:.2f})."
    )
    independent = max(free[1]) < ROUNDING and all(low <= value <= high for value in free[0])
    if min(both[1]) < ROUNDING or all(low <= value <= high for value in both[0]) or not independent:
        return Verdict("does not hold", reason)
    if min(both[0]) > high:
        return Verdict("holds", reason)
    return Verdict(
        "holds with limits",
        f"{reason} The images of a batch are dependent, but do not have a common hue: a ratio below 1 means that they "
        "are negatively correlated, because the norm fixes the mean of a batch.",
    )


def table(numbers: Numbers) -> Table:
    """Ratio and fraction by norm and statistic."""
    rows: Table = [("norm", "statistic", "variance of batch means, 1 if independent", "fraction due to the batch")]
    for name, runs in numbers["runs"].items():
        for statistic, statistic_name in zip(STATISTICS, STATISTIC_NAMES, strict=True):
            cells = (spread([run[quantity][statistic] for run in runs], form) for quantity, form in FORMS.items())
            rows.append((name, statistic_name, *cells))
    return rows


def plot(numbers: Numbers) -> Figure:
    """The hue of a few latents, each in several batches, and the ratios."""
    from danlu.experiments.harness.plots import colors, panels, secondary_color

    figure, (*left, right) = panels(3, height=2.4)
    for number, (axes, (name, codes)) in enumerate(zip(left, numbers["codes"].items(), strict=True)):
        for index, values in enumerate(sorted(codes)):
            axes.plot([index] * len(values), values, "os"[number], color=colors()[number], markersize=2.5, alpha=0.6)
        axes.set(title=name, xlabel=f"latents, each in {len(codes[0])} batches", xticks=[])
        axes.grid(True, axis="y")
    left[0].set_ylabel("red minus blue of the image")
    low, high = limits(numbers["batches"])
    right.axhspan(low, high, color=secondary_color(), alpha=0.3, linewidth=0)
    for number, (name, runs) in enumerate(numbers["runs"].items()):
        for index, statistic in enumerate(STATISTICS):
            values = [run["ratio"][statistic] for run in runs]
            right.plot([index + 0.2 * (number - 0.5)] * len(values), values, "os"[number], color=colors()[number],
                       markersize=4, label=name if not index else None)  # fmt: skip
    largest = max(value for runs in numbers["runs"].values() for run in runs for value in run["ratio"].values())
    right.set(title="batch means", xticks=[0, 1], xticklabels=STATISTIC_NAMES, xlim=(-0.5, 1.5), xlabel="gray: chance")
    right.set(ylabel="variance, 1 if independent", ylim=(0, 1.5 * max(largest, high)))
    right.grid(True, axis="y")
    right.legend(loc="upper left", fontsize=7)
    return figure


EXPERIMENT = JudgedExperiment(measure, verdict, table, plot)
