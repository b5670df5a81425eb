"""ELBO = log p(x) − KL(q ‖ posterior), tight where q is the posterior (notes, 2.1.3.2).

A VAE without activations is probabilistic principal component analysis, for which all terms have a closed form: p(x |
z) is N(W z + b, σ² I), so p(x) and the posterior are normal distributions (Tipping and Bishop, "Probabilistic principal
component analysis", 1999). Such a VAE with 8 latent units is trained on the digits by maximizing its ELBO. During
training, the experiment computes three terms on the test digits: the ELBO as the model computes it, log p(x), and the
KL divergence of q from the posterior. The expectation in the ELBO is exact: it is a mean over 16 latent points, which
is exact for quadratic functions. Finally q is set to the posterior. The notes conclude that maximizing the ELBO raises
log p(x) and brings q closer to the posterior; both are measured, too. In float64.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, distributions, nn

from danlu.data.base.batch_stream import Shuffled
from danlu.data.datasets.digits import digits
from danlu.experiments.harness.criteria import Comparison, Criteria, Judgment
from danlu.experiments.harness.experiment import Experiment, Numbers, ProgressCallback, Table
from danlu.experiments.harness.seeds import seeds
from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.harness.wording import mean_and_range, number
from danlu.models.latent.posterior import Diagonal
from danlu.models.latent.vae import VAE
from danlu.tasks.elbo import Elbo
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.runtime import Runtime
from danlu.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENT, WIDTH, VALUES = 8, 64, 64
MEASURED = (0, 10, 30, 100, 300, 1000, 3000)  # rounds
EXACT = 1e-8  # nats: largest difference that float64 rounding explains


class ClosedForm(NamedTuple):
    """p(x | z) = N(W z + b, σ² I), from a decoder without activations."""

    weights: Float[Tensor, "d k"]
    bias: Float[Tensor, "d"]
    variance: float

    def marginal(self) -> distributions.MultivariateNormal:
        """p(x)."""
        noise = self.variance * torch.eye(len(self.bias), dtype=self.bias.dtype)
        return distributions.MultivariateNormal(self.bias, self.weights @ self.weights.T + noise)

    def posterior(self, x: Float[Tensor, "n d"]) -> distributions.MultivariateNormal:
        """The posterior p(z | x)."""
        units = torch.eye(self.weights.shape[1], dtype=x.dtype)
        inner = self.weights.T @ self.weights + self.variance * units
        mean = torch.linalg.solve(inner, self.weights.T @ (x - self.bias).T).T
        return distributions.MultivariateNormal(mean, self.variance * torch.linalg.inv(inner))


@torch.no_grad()
def closed_form(vae: VAE) -> ClosedForm:
    """The decoder as one affine map."""
    origin, units = torch.zeros(1, vae.latent, dtype=torch.float64), torch.eye(vae.latent, dtype=torch.float64)
    likelihood, decode = vae.autoencoder.likelihood, vae.autoencoder.generation
    bias = decode(origin).flatten()
    weights = (decode(units).flatten(1) - bias).T
    spread = likelihood._log_spread(decode(origin)[None]).flatten()[0]
    return ClosedForm(weights, bias, float((2 * spread).exp()))


@torch.no_grad()
def three_terms(vae: VAE, x: Tensor) -> dict[str, float]:
    """The ELBO as the model computes it, log p(x), and the KL divergence from the posterior; means over examples."""
    points = vae.latent**0.5 * torch.cat([sign * torch.eye(vae.latent, dtype=x.dtype) for sign in (1, -1)])
    through = vae(x, points[:, None].expand(-1, len(x), -1))
    elbo = vae.autoencoder.log_weights(x, through).mean()
    q, model = cast(Diagonal, through.posterior), closed_form(vae)
    normal = distributions.MultivariateNormal(q.mean, torch.diag_embed(q.log_variance.exp()))
    return {
        "elbo": float(elbo),
        "log_p": float(model.marginal().log_prob(x.flatten(1)).mean()),
        "divergence": float(distributions.kl_divergence(normal, model.posterior(x.flatten(1))).mean()),
    }


@torch.no_grad()
def with_the_posterior(vae: VAE) -> VAE:
    """A VAE with the same p(x) and with q(z | x) = p(z | x); latents are rotated to make the posterior diagonal."""
    vae, model = deepcopy(vae), closed_form(vae)
    left, scales, _ = torch.linalg.svd(model.weights, full_matrices=False)
    turned = ClosedForm(left * scales, model.bias, model.variance)
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


def measure(seed: int, progress: ProgressCallback, quick: bool = False) -> Numbers:
    """The three terms during training and with q as the posterior."""
    rounds = MEASURED[:4] if quick else MEASURED
    (run_seed,) = seeds(seed, 1)
    run = _learn(rounds, run_seed, lambda done: progress("VAE", done, 100))
    first, *_, last = run["on the way"]
    terms = [*run["on the way"], run["at the posterior"]]
    arms = {
        "all": {"difference of the two sides": [max(map(_gap, terms))]},
        "at the posterior": {"slack": [abs(run["at the posterior"]["log_p"] - run["at the posterior"]["elbo"])]},
        "during training": {"slack": [min(one["log_p"] - one["elbo"] for one in run["on the way"])]},
        "before training": {"log p": [first["log_p"]], "divergence": [first["divergence"]]},
        "after training": {"log p": [last["log_p"]], "divergence": [last["divergence"]]},
    }
    return {"arms": arms, "rounds": list(rounds), "run": run}


def _learn(rounds: tuple[int, ...], seed: int, progress: Callable[[int], None]) -> Numbers:
    data = digits()
    runtime = Runtime(precision="float64")
    part, x = data.train.to("cpu", torch.float64), data.test["image"].double()
    make = partial(VAE, (1, 8, 8), LATENT, (WIDTH,), activation="identity", likelihood="gaussian")
    vae = cast(VAE, from_seed(make, seed).double())
    trainer = Trainer(
        Elbo(vae), OptimizerSettings(lr=3e-3), Shuffled(part, 128, seed), rounds[-1], seed, runtime=runtime
    )
    terms = [three_terms(vae, x)]
    for report in trainer:
        if report.round in rounds:
            progress(100 * report.round // rounds[-1])
            terms.append(three_terms(vae, x))
    return {"on the way": terms, "at the posterior": three_terms(with_the_posterior(vae), x)}


def _gap(terms: dict[str, float]) -> float:
    """Absolute difference of the two sides of the equation, in nats."""
    return abs(terms["elbo"] - (terms["log_p"] - terms["divergence"]))


EQUAL = Comparison(
    "both sides are equal up to rounding", "all", 2 * EXACT, "difference of the two sides", EXACT, lower=True
)
BELOW = Comparison("the ELBO is below log p(x) during training", "during training", 0.0, "slack", EXACT)
TIGHT = Comparison(
    "the ELBO is log p(x) if q is the posterior", "at the posterior", 2 * EXACT, "slack", EXACT, lower=True
)
RAISED = Comparison("training raises log p(x)", "after training", "before training", "log p", 1.0)  # one nat
CLOSER = Comparison(  # a tenth: most of the divergence is gone
    "training brings q closer to the posterior",
    "after training", "before training", "divergence", 10.0, lower=True, ratio=True,
)  # fmt: skip
CRITERIA = Criteria(clauses=(EQUAL, BELOW, TIGHT, RAISED, CLOSER))


def conclude(numbers: Numbers, judgment: Judgment) -> str:
    """The equation; what training changes."""
    before, after = (numbers["arms"][f"{when} training"] for when in ("before", "after"))
    gap, slack = (
        number(max(numbers["arms"][arm][measure][0], 1e-16), 1)
        for arm, measure in (("all", "difference of the two sides"), ("at the posterior", "slack"))
    )
    text = (
        f"The two sides differ by at most {gap} nats, and with q set to the posterior the ELBO differs from log p(x) "
        f"by {slack} nats. Training changes log p(x) from {number(before['log p'][0])} to {number(after['log p'][0])} "
        f"nats, and the KL divergence from {number(before['divergence'][0])} to {number(after['divergence'][0])} nats."
    )
    return text + judgment.not_shown(*CRITERIA.clauses)


def table(numbers: Numbers) -> Table:
    """The three terms by round."""
    rows: Table = [("rounds", "log p(x)", "KL divergence from posterior", "ELBO", "difference of the two sides")]
    for index, rounds in enumerate(numbers["rounds"]):
        rows.append(_row(str(rounds), [numbers["run"]["on the way"][index]]))
    rows.append(_row("q = posterior", [numbers["run"]["at the posterior"]]))
    return rows


def _row(name: str, terms: list[dict[str, float]]) -> tuple[str, ...]:
    columns = (mean_and_range([one[key] for one in terms]) for key in ("log_p", "divergence", "elbo"))
    return (name, *columns, number(max(map(_gap, terms)), 1))


def plot(numbers: Numbers) -> Figure:
    """log p(x) and the ELBO during training, and the KL divergence between them."""
    from danlu.experiments.harness.plots import colors, line, logarithmic, panels

    figure, (left, right) = panels(2)
    # a logarithmic axis cannot show round 0
    rounds, runs = numbers["rounds"][1:], [numbers["run"]["on the way"][1:]]
    for k, (key, label) in enumerate((("log_p", "log p(x)"), ("elbo", "ELBO"))):
        line(left, rounds, [[terms[key] for terms in run] for run in runs], k, label)
    first_run = runs[0]
    left.fill_between(
        rounds,
        [f["elbo"] for f in first_run],
        [f["log_p"] for f in first_run],
        color=colors()[1],
        alpha=0.15,
        linewidth=0,
    )
    line(right, rounds, [[terms["divergence"] for terms in run] for run in runs], 2, "KL divergence")
    for axes in (left, right):
        logarithmic(axes.xaxis, rounds)
        axes.set_xlabel("rounds")
    logarithmic(right.yaxis, (0.1, 0.3, 1, 3, 10))
    left.set(title="test digits", ylabel="nats per image")
    left.legend(loc="lower right")
    right.set(title="KL divergence", ylabel="nats per image")
    return figure


EXPERIMENT = Experiment(
    measure=measure,
    criteria=CRITERIA,
    conclude=conclude,
    table=table,
    plot=plot,
    method=(
        "A VAE without activations, for which log p(x) and the posterior have a closed form, is trained on the digits. "
        "The ELBO, log p(x) and the KL divergence of q from the posterior are computed on test digits during training, "
        "and with q set to the posterior."
    ),
    caption=(
        "Left: log p(x) of test digits and the ELBO during training; the shaded distance between them is the KL "
        "divergence. Right: this divergence of q from the posterior. Both axes of rounds are logarithmic."
    ),
    demonstration=True,
)
