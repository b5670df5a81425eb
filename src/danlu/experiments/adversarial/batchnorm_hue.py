"""Batch norm makes the samples of a batch dependent, virtual batch norm does not (notes, 2.2.4.2).

A DCGAN generator of colored digits (ink of any hue on black) is trained with batch norm or with virtual batch norm, in
batches of 16, with critics of equal initial weights and the same images. It then generates many batches in training
mode from independent latents. Two statistics of each image are computed: the brightness, and red minus blue, which
stands for the hue. Two measures tell how a batch depends on itself:

* how much the image of one latent changes with the other latents of its batch, as a fraction of the total variance;
* the variance of the batch means, relative to the variance within batches divided by the batch size. It is 1 for
  independent images and above 1 if the images of a batch have a common hue, as the notes state. Below 1 they are
  negatively correlated.

A generator whose digits are gray, or all of one hue, would show nothing; a gate compares the variance of its hues with
that of the data.
"""

from __future__ import annotations

import colorsys
from statistics import fmean
from typing import TYPE_CHECKING, Literal, cast

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.gan_on_digits import pair
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.wording import mean_and_range, number, percent
from danlu.models.adversarial.base import Critic, Generator
from danlu.models.adversarial.dcgan import DCGANCritic, DCGANGenerator
from danlu.rng.keys import generator as generator_of
from danlu.tasks.adversarial import Adversarial
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, LATENT, WIDTH, BATCH = (3, 8, 8), 16, 16, 16
NORMS: dict[str, Literal["batch", "virtual"]] = {"batch norm": "batch", "virtual batch norm": "virtual"}
BRIGHTNESS, HUE = STATISTICS = ("brightness", "red minus blue")
BATCH_NORM, VIRTUAL = NORMS
TAIL = 1e-4  # probability that the ratio of independent images is beyond a limit, on either side
ROUNDS = 400
SHOWN, SHOWN_BATCHES = 12, 8  # latents, and batches in which each one is shown


def colored(seed: int) -> Part:
    """The training digits, each with its own random hue."""
    x = digits().train["image"]
    hues = torch.rand(len(x), generator=generator_of("hues", seed)).tolist()
    inks = torch.tensor([colorsys.hsv_to_rgb(hue, 1.0, 1.0) for hue in hues])
    return Part({"image": x * inks[:, :, None, None]})


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """Ratios and fractions by norm and seed; for the first seed, images of a few latents in several batches."""
    run_seeds = seeds(seed, 2 if quick else 5)
    rounds, batches = (10, 60) if quick else (ROUNDS, 400)
    arms: Numbers = {name: {} for name in NORMS}
    codes: Numbers = {}
    for done, (name, run_seed) in enumerate((name, run_seed) for name in NORMS for run_seed in run_seeds):
        progress("generators", done, len(NORMS) * len(run_seeds))
        data = colored(run_seed)
        model = _learn(NORMS[name], data, rounds, run_seed)
        for measure, value in batch_dependence(model, data, batches, run_seed).items():
            arms[name].setdefault(measure, []).append(value)
        if run_seed == run_seeds[0]:
            codes[name] = statistics(in_batches(model, SHOWN, SHOWN_BATCHES, run_seed))[..., 1].tolist()
    return {"arms": arms, "batch": BATCH, "batches": batches, "codes": codes}


def _learn(norm: Literal["batch", "virtual"], data: Part, rounds: int, seed: int) -> DCGANGenerator:
    model, critic = pair(
        lambda: cast(Generator, DCGANGenerator(SHAPE, 0, (0.0, 1.0), LATENT, WIDTH, norm=norm, reference=BATCH)),
        lambda: cast(Critic, DCGANCritic(SHAPE, 0, WIDTH)),
        seed,
    )
    settings = OptimizerSettings(optimizer="adam", lr=4e-4, betas=(0.5, 0.999))
    for _ in Trainer(Adversarial(model, critic), settings, Shuffled(data, BATCH, seed), rounds, seed):
        pass
    return cast(DCGANGenerator, model.train())


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
def batch_dependence(model: DCGANGenerator, data: Part, batches: int, seed: int) -> dict[str, float]:
    """For each statistic: the ratio, the fraction of variance due to the other latents, and the variance itself.

    The variance is relative to that of the data.
    """
    codes = torch.randn(batches, BATCH, LATENT, generator=generator_of("batches", seed))
    values = statistics(torch.stack([model.to_data_range(model(batch)) for batch in codes])).double()
    alone = statistics(in_batches(model, batches // 10, 20, seed)).double()
    by_batch, by_code = alone.var(1).mean(0), alone.mean(1).var(0)
    spread = values.flatten(0, 1).var(0) / statistics(data["image"]).double().var(0)
    found: dict[str, float] = {}
    for index, name in enumerate(STATISTICS):
        found[f"ratio, {name}"] = ratio(values[..., index])
        found[f"share, {name}"] = float(by_batch[index] / (by_batch[index] + by_code[index]))
        found[f"variance, {name}"] = float(spread[index])
    return found


def limits(batches: int) -> tuple[float, float]:
    """Limits of the ratio for independent images: (batches - 1) times the ratio has a χ² distribution."""
    low, high = stats.chi2.ppf((TAIL, 1 - TAIL), batches - 1) / (batches - 1)
    return float(low), float(high)


VARIED = tuple(
    Comparison(f"the hues of the digits vary with {name}", name, 0.0, f"variance, {HUE}", 0.25)  # half the deviation
    for name in NORMS
)
# "too strong": the others of the batch cause at least a twentieth of the variance
DEPENDENT = Comparison(
    "the other images of a batch change the hue of an image more with batch norm than with virtual batch norm",
    BATCH_NORM, VIRTUAL, f"share, {HUE}", 0.05,
)  # fmt: skip
INDEPENDENT = Comparison(
    "with virtual batch norm the other images change the hue by at most a hundredth of its variance",
    VIRTUAL, 0.05, f"share, {HUE}", 0.04, lower=True,
)  # fmt: skip
# a correlation of 0.03 between the images of a batch of 16
COMMON = Comparison(
    "with batch norm the images of a batch have a common hue", BATCH_NORM, 1.0, f"ratio, {HUE}", 1.5, ratio=True
)
BRIGHT = Comparison(
    "they change its brightness more with batch norm, too", BATCH_NORM, VIRTUAL, f"share, {BRIGHTNESS}", 0.05
)
CRITERIA = Criteria(clauses=(DEPENDENT, INDEPENDENT, COMMON), gates=VARIED, limits=(BRIGHT,))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """How much of the variance is due to the batch; then whether the hue is common."""
    arms = numbers["arms"]
    shares = {name: fmean(arms[name][f"share, {HUE}"]) for name in NORMS}
    common = number(fmean(arms[BATCH_NORM][f"ratio, {HUE}"]), 2)
    text = (
        f"With batch norm the other images of a batch cause {percent(shares[BATCH_NORM])} of the variance of the hue, "
        f"with virtual batch norm {percent(shares[VIRTUAL])}."
    )
    text += judgment.not_shown(DEPENDENT, INDEPENDENT, BRIGHT)
    chance = f"the variance of the batch means is {common} times that of independent images."
    if judgment.supported(COMMON.clause):
        return f"{text} The images of a batch have a common hue: {chance}"
    refuted = judgment.finding(COMMON.clause).state == "refuted"
    opening = "The images of a batch do not" if refuted else "It is not shown that the images of a batch"
    text += f" {opening} have a common hue: {chance}"
    if judgment.finding(COMMON.clause).interval.high < 0:
        text += (
            " Below 1 means that the hues of a batch balance each other more than those of independent images: the "
            "norm fixes the mean of a batch, so an image is less red if the others are more so."
        )
    return text


def table(numbers: Numbers) -> Table:
    """Ratio, fraction and variance by norm and statistic."""
    measures = {
        "ratio": "variance of batch means, 1 if independent",
        "share": "fraction of the variance due to the batch",
        "variance": "variance, relative to the data",
    }
    rows: Table = [("norm", "statistic", *measures.values())]
    for name, values in numbers["arms"].items():
        for statistic in STATISTICS:
            rows.append((name, statistic, *(mean_and_range(values[f"{m}, {statistic}"], 2) for m in measures)))
    return rows


def plot(numbers: Numbers) -> Figure:
    """The hue of a few latents, each in several batches, and the ratios."""
    from danlu.experiments.harness.plots import colors, panels, secondary_color

    figure, (*left, right) = panels(3, height=2.4)
    for k, (axes, (name, codes)) in enumerate(zip(left, numbers["codes"].items(), strict=True)):
        for index, values in enumerate(sorted(codes)):
            axes.plot([index] * len(values), values, "os"[k], color=colors()[k], markersize=2.5, alpha=0.6)
        axes.set(title=name, xlabel=f"latents, each in {len(codes[0])} batches", xticks=[])
        axes.grid(True, axis="y")
    left[0].set_ylabel("red minus blue of the image")
    limit = 1.1 * max(abs(value) for codes in numbers["codes"].values() for values in codes for value in values)
    for axes in left:
        axes.set_ylim(-limit, limit)
    low, high = limits(numbers["batches"])
    right.axhspan(low, high, color=secondary_color(), alpha=0.3, linewidth=0)
    ratios = {(name, x): numbers["arms"][name][f"ratio, {x}"] for name in NORMS for x in STATISTICS}
    for (name, statistic), values in ratios.items():
        k, index = list(NORMS).index(name), STATISTICS.index(statistic)
        right.plot([index + 0.2 * (k - 0.5)] * len(values), values, "os"[k], color=colors()[k],
                   markersize=4, label=name if not index else None)  # fmt: skip
    largest = max(max(values) for values in ratios.values())
    right.set(title="batch means", xticks=[0, 1], xticklabels=STATISTICS, xlim=(-0.5, 1.5), xlabel="gray: chance")
    right.set(ylabel="variance, 1 if independent", ylim=(0, 1.5 * max(largest, high)))
    right.grid(True, axis="y")
    right.legend(loc="upper left", fontsize=7)
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A DCGAN generator of colored digits is trained with batch norm and with virtual batch norm and generates many "
        "batches in training mode. Measured are the fraction of the variance of an image's hue that the other images "
        "of its batch cause, and the variance of the batch means beside that of independent images."
    ),
    caption=(
        "Left and middle: the hue of single latents, each in several batches; the vertical extent of a column is the "
        "effect of the other latents of the batch. Right: variance of the batch means, 1 for independent images, above "
        "1 for a common hue; one point per seed, gray: range of chance."
    ),
)
