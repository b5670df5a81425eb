"""ELBO = log p(x) − KL(q ‖ posterior), tight where q is the posterior (notes, 2.1.3.2).

A VAE without activations is probabilistic principal component analysis, of which everything is known: p(x | z) is
N(W z + b, σ² I), so log p(x) is that of a normal distribution, and so is the posterior (Tipping and Bishop,
"Probabilistic principal component analysis", 1999). Such a VAE learns digits by its bound, as any other, with 8 latent
units. On the way, on the test digits, are measured the bound as the model computes it, log p(x), and the divergence of
its q from the posterior. The bound's expectation over the code is exact: the model is asked at 16 points whose mean is
that of any quadratic. In the end q is set to the posterior. In float64, two seeds.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, distributions, nn

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.experiment import Experiment, Numbers, Table, Tell, Verdict
from danlu.experiments.harness.trainers import from_seed, spread
from danlu.models.latent.autoencoder import Diagonal
from danlu.models.latent.vae import VAE
from danlu.tasks.elbo import Elbo
from danlu.training.optimization import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENT, WIDTH, VALUES = 8, 64, 64
MEASURED = (0, 10, 30, 100, 300, 1000, 3000)  # rounds
EXACT = 1e-8  # nats by which two sides that are equal may differ in float64
TIGHTER = 0.1  # of the first divergence: what may be left of it after training


class Known(NamedTuple):
    """p(x | z) = N(W z + b, σ² I), read off a decoder without activations."""

    weights: Float[Tensor, "d k"]
    bias: Float[Tensor, "d"]
    variance: float

    def marginal(self) -> distributions.MultivariateNormal:
        """p(x)."""
        noise = self.variance * torch.eye(len(self.bias), dtype=self.bias.dtype)
        return distributions.MultivariateNormal(self.bias, self.weights @ self.weights.T + noise)

    def posterior(self, x: Float[Tensor, "n d"]) -> distributions.MultivariateNormal:
        """p(z | x)."""
        units = torch.eye(self.weights.shape[1], dtype=x.dtype)
        inner = self.weights.T @ self.weights + self.variance * units
        mean = torch.linalg.solve(inner, self.weights.T @ (x - self.bias).T).T
        return distributions.MultivariateNormal(mean, self.variance * torch.linalg.inv(inner))


@torch.no_grad()
def known(vae: VAE) -> Known:
    """What the decoder says, as one affine map."""
    origin, units = torch.zeros(1, vae.latent, dtype=torch.float64), torch.eye(vae.latent, dtype=torch.float64)
    likelihood, decode = vae.autoencoder.likelihood, vae.autoencoder.generation
    bias = decode(origin).flatten()
    weights = (decode(units).flatten(1) - bias).T
    spread = likelihood._log_spread(decode(origin)[None]).flatten()[0]
    return Known(weights, bias, float((2 * spread).exp()))


@torch.no_grad()
def three_terms(vae: VAE, x: Tensor) -> dict[str, float]:
    """The bound as the model computes it, log p(x), and the divergence from the posterior; means over examples."""
    points = vae.latent**0.5 * torch.cat([sign * torch.eye(vae.latent, dtype=x.dtype) for sign in (1, -1)])
    through = vae(x, points[:, None].expand(-1, len(x), -1))
    bound = vae.autoencoder.log_weights(x, through).mean()
    q, model = cast(Diagonal, through.posterior), known(vae)
    normal = distributions.MultivariateNormal(q.mean, torch.diag_embed(q.log_variance.exp()))
    return {
        "elbo": float(bound),
        "log_p": float(model.marginal().log_prob(x.flatten(1)).mean()),
        "divergence": float(distributions.kl_divergence(normal, model.posterior(x.flatten(1))).mean()),
    }


@torch.no_grad()
def with_the_posterior(vae: VAE) -> VAE:
    """The same p(x), and q(z | x) = p(z | x): codes are turned until the posterior's units are independent."""
    vae, model = deepcopy(vae), known(vae)
    left, scales, _ = torch.linalg.svd(model.weights, full_matrices=False)
    turned = Known(left * scales, model.bias, model.variance)
    gain = (turned.weights / (scales.square() + model.variance)).T
    encoder, decoder = vae.autoencoder.inference.encoder, vae.autoencoder.generation.decoder
    head = cast(nn.Linear, vae.autoencoder.inference.posterior.get_submodule("linear"))
    first, last = cast(nn.Linear, encoder.first), cast(nn.Linear, decoder.first)
    start = cast(nn.Linear, decoder.dense.get_submodule("0.linear"))
    for layer in (first, head, start, last):
        layer.weight.zero_()
        layer.bias.zero_()
    first.weight.copy_(torch.eye(WIDTH, VALUES))
    head.weight[: vae.latent] = gain @ torch.eye(VALUES, WIDTH, dtype=gain.dtype)
    head.bias[: vae.latent] = -gain @ model.bias
    head.bias[vae.latent :] = (model.variance / (scales.square() + model.variance)).log()
    start.weight.copy_(torch.eye(WIDTH, vae.latent))
    last.weight.copy_(turned.weights @ torch.eye(vae.latent, WIDTH, dtype=gain.dtype))
    last.bias.copy_(model.bias)
    return vae


def measure(seed: int, tell: Tell, quick: bool = False) -> Numbers:
    """The three terms on the way and with q as the posterior, for each seed."""
    seeds = range(seed, seed + (1 if quick else 2))
    rounds = MEASURED[:4] if quick else MEASURED
    runs = []
    for place, own in enumerate(seeds):
        runs.append(_learn(rounds, own, lambda done, place=place: tell("VAEs", place * 100 + done, len(seeds) * 100)))
    return {"rounds": list(rounds), "runs": runs}


def _learn(rounds: tuple[int, ...], seed: int, tell: object) -> Numbers:
    data = digits()
    runtime = Runtime(precision="float64")
    part, x = data.train.to("cpu", torch.float64), data.test["image"].double()
    make = partial(VAE, (1, 8, 8), LATENT, (WIDTH,), activation="identity", likelihood="gaussian")
    vae = cast(VAE, from_seed(make, seed).double())
    trainer = Trainer(
        Elbo(vae), OptimizerSettings(lr=3e-3), Shuffled(part, 128, seed), rounds[-1], seed, runtime=runtime
    )
    found = [three_terms(vae, x)]
    for report in trainer:
        if report.round in rounds:
            tell(100 * report.round // rounds[-1])  # type: ignore[operator]
            found.append(three_terms(vae, x))
    return {"on the way": found, "at the posterior": three_terms(with_the_posterior(vae), x)}


def _gap(found: dict[str, float]) -> float:
    """By how much the two sides of the equation differ, in nats."""
    return abs(found["elbo"] - (found["log_p"] - found["divergence"]))


def judge(numbers: Numbers) -> Verdict:
    """Both sides are equal, the bound is below log p(x), and equal to it where q is the posterior."""
    everything = [found for run in numbers["runs"] for found in (*run["on the way"], run["at the posterior"])]
    gap = max(map(_gap, everything))
    ends = [(run["on the way"][0], run["on the way"][-1], run["at the posterior"]) for run in numbers["runs"]]
    loose = max(abs(exact["log_p"] - exact["elbo"]) for _, _, exact in ends)
    below = min(found["log_p"] - found["elbo"] for run in numbers["runs"] for found in run["on the way"])
    left = max(late["divergence"] / early["divergence"] for early, late, _ in ends)
    early, late, _ = ends[0]
    reason = (
        f"Both sides differ by at most {gap:.0e} nats. Training brings log p(x) from {early['log_p']:.0f} to "
        f"{late['log_p']:.1f} nats and the divergence from {early['divergence']:.0f} to {late['divergence']:.2f}; with "
        f"q set to the posterior the bound is log p(x) to {loose:.0e}."
    )
    if gap > EXACT or loose > EXACT or below < -EXACT:
        return Verdict("does not hold", reason)
    if left > TIGHTER:
        return Verdict("holds with limits", f"{reason} Training leaves {left:.0%} of the divergence.")
    return Verdict("holds", reason)


def table(numbers: Numbers) -> Table:
    """The three terms by round."""
    rows: Table = [("rounds", "log p(x)", "divergence from posterior", "bound", "largest difference of the sides")]
    for place, rounds in enumerate(numbers["rounds"]):
        rows.append(_row(str(rounds), [run["on the way"][place] for run in numbers["runs"]]))
    rows.append(_row("q = posterior", [run["at the posterior"] for run in numbers["runs"]]))
    return rows


def _row(name: str, found: list[dict[str, float]]) -> tuple[str, ...]:
    columns = (spread([one[key] for one in found], ".2f") for key in ("log_p", "divergence", "elbo"))
    return (name, *columns, f"{max(map(_gap, found)):.0e}")


def draw(numbers: Numbers) -> Figure:
    """log p(x) and the bound on the way, and the divergence between them."""
    from danlu.experiments.harness.plots import colors, line, logarithmic, panels

    figure, (left, right) = panels(2)
    # from the first measured round on that a logarithmic axis can show
    rounds, runs = numbers["rounds"][1:], [run["on the way"][1:] for run in numbers["runs"]]
    for number, (key, label) in enumerate((("log_p", "log p(x)"), ("elbo", "bound"))):
        line(left, rounds, [[found[key] for found in run] for run in runs], number, label)
    shown = runs[0]
    left.fill_between(
        rounds, [f["elbo"] for f in shown], [f["log_p"] for f in shown], color=colors()[1], alpha=0.15, linewidth=0
    )
    line(right, rounds, [[found["divergence"] for found in run] for run in runs], 2, "divergence")
    for axes in (left, right):
        logarithmic(axes.xaxis, rounds)
        axes.set_xlabel("rounds")
    logarithmic(right.yaxis, (0.1, 0.3, 1, 3, 10))
    left.set(title="test digits", ylabel="nats per picture")
    left.legend(loc="lower right")
    right.set(title="divergence of q from the posterior", ylabel="nats per picture")
    return figure


EXPERIMENT = Experiment(measure, judge, table, draw)
