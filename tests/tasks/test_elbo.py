"""The bound as a game: KL weights by hand, terms and scores against formulas, masks, turns, and what it refuses."""

import pytest
import torch
from torch import nn

from danlu.data import Part, Shuffled, in_order
from danlu.losses import bernoulli_log_prob, gaussian_log_prob
from danlu.models import VAE
from danlu.models.latent.planar_posterior import PlanarPosterior
from danlu.models.latent.posterior import DiagonalPosterior
from danlu.tasks import Elbo, KLWeight, Masks, Place
from danlu.training import OptimizerSettings, Runtime, Trainer
from danlu.verbs import has

KL = torch.tensor([[0.0, 3.0], [0.2, 1.0]], dtype=torch.float64)
SHAPE = (1, 6, 5)


def vae_of(**changes):
    torch.manual_seed(0)
    return VAE(SHAPE, **{"latent": 3, "hidden": (8,), **changes}).double()


def batch_of(n=7, shape=SHAPE):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)).double()
    return next(in_order(Part({"image": x}), n))


def entered(task, n, round=0, seed=0):
    """The task in a turn, as the trainer enters it."""
    task.enter(Place(seed, round, 0, slice(0, n), n, torch.device("cpu"), torch.float64))
    return task


@pytest.mark.parametrize(
    ("kl_weight", "round", "expected"),
    [
        (KLWeight(), 0, [3.0, 1.2]),
        (KLWeight(beta=4.0), 9, [12.0, 4.8]),
        (KLWeight(beta=0.0), 9, [0.0, 0.0]),
        (KLWeight(beta=2.0, warmup=10), 0, [0.0, 0.0]),
        (KLWeight(beta=2.0, warmup=10), 5, [3.0, 1.2]),
        (KLWeight(beta=2.0, warmup=10), 10, [6.0, 2.4]),
        (KLWeight(beta=2.0, warmup=10), 11, [6.0, 2.4]),
        (KLWeight(free_bits=0.5), 0, [3.5, 1.5]),  # the first unit's mean is 0.1, the second's 2
        (KLWeight(beta=2.0, free_bits=0.5), 0, [7.0, 3.0]),
        (KLWeight(free_bits=3.0), 0, [6.0, 6.0]),
        (KLWeight(capacity=2.0), 0, [1.0, 0.8]),
        (KLWeight(beta=10.0, capacity=2.0, capacity_rounds=4), 0, [30.0, 12.0]),
        (KLWeight(beta=10.0, capacity=2.0, capacity_rounds=4), 2, [20.0, 2.0]),
        (KLWeight(beta=10.0, capacity=2.0, capacity_rounds=4), 8, [10.0, 8.0]),
        (KLWeight(capacity=0.0), 0, [3.0, 1.2]),
    ],
)
def test_the_kl_weight_by_hand(kl_weight, round, expected):
    torch.testing.assert_close(kl_weight.weighted(KL, round), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("samples", [1, 4])
def test_the_terms_are_the_bound_in_two_parts(samples):
    """Their sum, over many draws, is minus the evidence lower bound; here draw by draw with the same noise."""
    vae, batch = vae_of(), batch_of()
    terms = entered(Elbo(vae, samples=samples), 7).fit(batch, 0)
    assert terms.keys() == {"reconstruction", "kl"}
    noise = entered(Elbo(vae), 7).noise((samples, 3))
    q, x = vae.posterior(batch["image"]), batch["image"]
    expected = torch.zeros(7, dtype=torch.float64)
    for draw in range(samples):
        z = q.mean + (q.log_variance / 2).exp() * noise[:, draw]
        expected -= bernoulli_log_prob(x, vae.autoencoder.generation(z)[:, 0]) / samples
    torch.testing.assert_close(terms["reconstruction"], expected)
    by_hand = 0.5 * (q.mean.square() + q.log_variance.exp() - 1 - q.log_variance).sum(1)
    torch.testing.assert_close(terms["kl"], by_hand)


def test_the_importance_weighted_term_is_by_hand():
    vae, batch, k = vae_of(), batch_of(), 5
    terms = entered(Elbo(vae, samples=k, objective="iwae"), 7).fit(batch, 0)
    assert terms.keys() == {"negative_iwae_bound"}
    noise, q, x = entered(Elbo(vae), 7).noise((k, 3)), vae.posterior(batch["image"]), batch["image"]
    weights = []
    for draw in range(k):
        z = q.mean + (q.log_variance / 2).exp() * noise[:, draw]
        joint = bernoulli_log_prob(x, vae.autoencoder.generation(z)[:, 0]) + gaussian_log_prob(z, 0 * z, 0.0)
        weights.append(joint - gaussian_log_prob(z, q.mean, q.log_variance))
    torch.testing.assert_close(terms["negative_iwae_bound"], -torch.stack(weights).exp().mean(0).log())


def test_one_importance_weight_is_the_bound_without_the_closed_form():
    vae, x = vae_of(), batch_of()["image"].repeat(3000, 1, 1, 1)
    batch = next(in_order(Part({"image": x}), len(x)))
    with torch.no_grad():
        sampled = -entered(Elbo(vae, objective="iwae"), len(x)).fit(batch, 0)["negative_iwae_bound"]
        terms = entered(Elbo(vae), len(x)).fit(batch, 0)
        closed = -terms["reconstruction"] - terms["kl"]
    difference = sampled - closed
    assert difference.mean().abs() < 3 * difference.std() / len(x) ** 0.5


def test_scores_are_the_plain_bound_for_every_kl_weight():
    vae, batch = vae_of().eval(), batch_of()
    scores = entered(Elbo(vae, KLWeight(beta=7.0, warmup=3)), 7).scores(batch)
    terms = entered(Elbo(vae), 7).fit(batch, 0)
    torch.testing.assert_close(scores["reconstruction"], terms["reconstruction"])
    torch.testing.assert_close(scores["kl"], terms["kl"])
    torch.testing.assert_close(scores["elbo"], -terms["reconstruction"] - terms["kl"])
    error = (vae.reconstruct(batch["image"]) - batch["image"]).square().flatten(1).mean(1)
    torch.testing.assert_close(scores["squared_error"], error)
    assert Elbo.better.keys() - {"active_units"} <= scores.keys()


@pytest.mark.parametrize(
    ("kl_weight", "name"),
    [
        (KLWeight(), "kl"),
        (KLWeight(beta=7.0), "weighted_kl"),
        (KLWeight(warmup=9), "weighted_kl"),
        (KLWeight(free_bits=0.5), "weighted_kl"),
        (KLWeight(capacity=1.0), "weighted_kl"),
    ],
)
def test_a_term_has_the_name_of_a_score_only_if_it_is_the_same_quantity(kl_weight, name):
    vae, batch = vae_of().eval(), batch_of()
    terms = entered(Elbo(vae, kl_weight), 7).fit(batch, 3)
    scores = entered(Elbo(vae, kl_weight), 7).scores(batch)
    assert terms.keys() == {"reconstruction", name}
    for common in terms.keys() & scores.keys():
        torch.testing.assert_close(terms[common], scores[common])
    assert (name in scores) == torch.equal(terms[name], scores["kl"])


def test_active_units_are_those_whose_mean_varies():
    """The encoder's last layer is set so that two units of three say something, in more examples than go through at a
    time."""
    vae = vae_of().eval()
    linear = vae.autoencoder.inference.posterior.linear
    linear.weight.data[1] = 0
    part = Part({"image": torch.rand(601, *SHAPE, generator=torch.Generator().manual_seed(0)).double()})
    vae.autoencoder.inference.posterior.linear.weight.data[[0, 2]] *= 20
    means = vae.posterior(part["image"]).mean.detach().numpy()
    assert (means.var(0) > 0.01).tolist() == [True, False, True]
    assert Elbo(vae).scores_of_part(part) == {"active_units": 2.0}


@pytest.mark.parametrize(
    ("scores", "collapsed"),
    [
        ({"kl": 0.02, "active_units": 1.0}, True),
        ({"kl": 3.0, "active_units": 0.0}, True),
        ({"kl": 3.0, "active_units": 1.0}, False),
        ({"kl": 0.02}, True),
        ({"kl": 3.0}, False),
        ({}, False),
    ],
)
def test_collapse_is_told_from_the_scores(scores, collapsed):
    said = Elbo(vae_of()).diagnose(scores)
    assert (said is not None) == collapsed
    assert said is None or all(word in said for word in ("beta", "beta_warmup", "free_bits", "decoder"))


def test_the_scale_is_nats_summed_over_pixels_and_units():
    """Of pictures with four times the pixels all gray, a decoder of zeros loses four times as much."""
    for side in (2, 4):
        vae = VAE((1, side, side), latent=2, hidden=(4,)).double()
        for parameter in vae.parameters():
            parameter.data.zero_()
        batch = batch_of(3, (1, side, side))
        terms = entered(Elbo(vae), 3).fit(batch, 0)
        torch.testing.assert_close(
            terms["reconstruction"], torch.full((3,), side**2, dtype=torch.float64) * torch.tensor(2.0).double().log()
        )
        assert terms["kl"].tolist() == [0, 0, 0]


# turns


def moved(separate, objective="elbo"):
    """Names of the parameters that each turn of the first round changes."""
    task = Elbo(vae_of(), separate=separate, objective=objective)
    trainer = Trainer(
        task,
        OptimizerSettings(lr=1e-2),
        Shuffled(Part({"image": batch_of()["image"]}), 7),
        1,
        runtime=Runtime(precision="float64"),
    )
    seen = []
    for name, player in trainer.players.items():
        real = player.step

        def step(lr, skip=None, name=name, real=real):
            before = {n: p.clone() for n, p in task.named_parameters()}
            real(lr)
            changed = {n for n, p in task.named_parameters() if not torch.equal(p, before[n])}
            seen.append((name, changed))

        player.step = step
    list(trainer)
    return seen, {n for n, _ in task.named_parameters()}


def test_together_one_turn_moves_everything():
    (turn,), every = moved(False)
    assert turn == ("vae", every)


@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_separately_the_decoder_moves_first_and_then_the_encoder(objective):
    (first, second), every = moved(True, objective)
    assert (first[0], second[0]) == ("decoder", "encoder")
    assert first[1] == {name for name in every if ".generation." in name}
    assert second[1] == {name for name in every if ".inference." in name}
    assert first[1] | second[1] == every


def test_both_turns_see_one_batch_and_draw_their_own_codes():
    task = Elbo(vae_of(), separate=True)
    decoder, encoder = task.turns(0)
    assert (decoder.fresh, encoder.fresh) == (True, False)


# masks


def drawn(masks, n=4000, shape=(2, 12, 9), round=0, seed=0):
    task = entered(Elbo(vae_of(masks=True), masks=masks), n, round, seed)
    return masks.draw(task, torch.zeros(n, *shape, dtype=torch.float64))


@pytest.mark.parametrize("fraction", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("blocks", [False, True])
def test_the_fraction_that_is_hidden_is_uniform_up_to_what_is_said(fraction, blocks):
    """Its mean is half of it, within five standard errors and the width of a row at either side."""
    masks = drawn(Masks(fraction, blocks))
    assert masks.shape == (4000, 1, 12, 9)
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    hidden = 1 - masks.flatten(1).mean(1)
    assert (hidden.mean() - fraction / 2).abs() < 5 * hidden.std() / 4000**0.5 + (0.02 if blocks else 0)
    uniform = fraction * fraction / 12  # the variance of the fraction; single pixels add their own
    assert hidden.var() > 0.75 * uniform


def test_every_other_picture_has_a_rectangle():
    masks = drawn(Masks(0.9))[:, 0]
    rectangles = 0
    for mask in masks[:400]:
        gone = (mask == 0).nonzero()
        if len(gone) == 0:
            continue
        top, left = gone.min(0).values.tolist()
        bottom, right = gone.max(0).values.tolist()
        rectangles += len(gone) == (bottom - top + 1) * (right - left + 1) and len(gone) > 3
    assert abs(rectangles / 400 - 0.5) < 5 * 0.5 / 400**0.5


def test_a_rectangle_has_the_fraction_that_it_should_and_lies_anywhere():
    from danlu.tasks.random_masks import _outside

    n = 2000
    corners = torch.rand(n, 4, generator=torch.Generator().manual_seed(0)).double()
    fraction = torch.linspace(0, 1, n).double()
    gone = ~_outside(corners, fraction, torch.Size((20, 30)), corners)
    found = gone.flatten(1).double().mean(1)
    slack = 1 / 20 + 1 / 30 + 1 / 600  # a side is right up to one pixel
    assert ((found - fraction).abs() < slack).all()
    assert gone.any(0).all(), "no pixel is always seen"
    assert gone[-1].all()
    assert not gone[0].any()


def test_height_and_position_of_a_rectangle_are_independent():
    """Correlations of the drawn corners and sides of 400 rectangles: within five standard errors, 1 / √n each."""
    masks = drawn(Masks(0.5), shape=(1, 24, 24))[:, 0]
    places = []
    for mask in masks[:1500]:
        gone = (mask == 0).nonzero()
        if len(gone) < 4:
            continue
        top, left = gone.min(0).values.tolist()
        bottom, right = gone.max(0).values.tolist()
        height, width = bottom - top + 1, right - left + 1
        if len(gone) == height * width and max(height, width) < 20:
            places.append((top / (24 - height), left / (24 - width), height / width))
    places = torch.tensor(places, dtype=torch.float64)
    assert len(places) > 400
    correlations = places.T.corrcoef() - torch.eye(3)
    assert correlations.abs().max() < 5 / len(places) ** 0.5
    assert (places[:, :2].mean(0) - 0.5).abs().max() < 5 / (12 * len(places)) ** 0.5 + 0.01
    assert places[:, :2].std(0).min() > 0.25  # 0.29 for a uniform position


def test_masks_are_for_all_channels_of_a_pixel_and_differ_by_example_and_round():
    masks = drawn(Masks(0.9), n=50)
    assert masks.shape[1] == 1
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 45
    assert not torch.equal(masks, drawn(Masks(0.9), n=50, round=1))
    assert torch.equal(masks, drawn(Masks(0.9), n=50))


def test_of_rows_single_values_are_hidden():
    masks = drawn(Masks(0.5), n=2000, shape=(20,))
    assert masks.shape == (2000, 20)
    assert masks.mean().item() == pytest.approx(0.75, abs=0.02)


def test_what_is_hidden_does_not_reach_the_encoder_and_is_in_the_loss():
    vae = vae_of(masks=True)
    batch, masks = batch_of(), Masks(0.9)
    fit = lambda batch: entered(Elbo(vae, masks=masks), 7).fit(batch, 0)  # noqa: E731
    mask = masks.draw(entered(Elbo(vae, masks=masks), 7), batch["image"])
    other = batch_of()
    other.fields["image"] = torch.where(mask.bool(), batch["image"], 1 - batch["image"])
    assert (mask == 0).any()
    assert torch.equal(fit(batch)["kl"], fit(other)["kl"])
    assert not torch.equal(fit(batch)["reconstruction"], fit(other)["reconstruction"])


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples=0 must be at least 1"),
        ({"objective": "iwae", "kl_weight": KLWeight(beta=2.0)}, "use objective elbo"),
        ({"objective": "iwae", "kl_weight": KLWeight(warmup=5)}, "use objective elbo"),
        ({"kl_weight": KLWeight(free_bits=1.0, capacity=3.0)}, "free_bits and capacity both set a target"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Elbo(vae_of(), **settings)


@pytest.mark.parametrize("posterior", ["planar", "iaf"])
def test_what_needs_a_closed_form_is_refused_with_a_flow(posterior):
    vae = vae_of(posterior=posterior)
    for kl_weight, name in ((KLWeight(free_bits=0.1), "free_bits"), (KLWeight(capacity=0.0), "capacity")):
        with pytest.raises(ValueError, match=f"{name} needs a KL divergence in closed form.*in place of {name}$"):
            Elbo(vae, kl_weight)
    collapsed = Elbo(vae, KLWeight(beta=2.0, warmup=5)).diagnose({"kl": 0.01, "active_units": 0.0})
    assert collapsed is not None
    assert "beta_warmup above 0" in collapsed
    assert "free_bits" not in collapsed


class Wrapped(nn.Module):
    """A posterior of the user, around one of ours."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, features):
        return self.module(features)


class WithUnits(Wrapped):
    unit_kl = True


def test_what_needs_a_closed_form_is_refused_with_a_module_that_does_not_say_that_it_has_one():
    flow, normal = PlanarPosterior(16, 2, layers=1), DiagonalPosterior(16, 2)
    vae = vae_of(hidden=(16,), latent=2, posterior=Wrapped(flow))
    assert vae(batch_of(3)["image"], torch.zeros(1, 3, 2).double()).kl().shape == (3, 1)  # a sum, no units
    assert not has(vae, "unit_kl")
    for kl_weight, name in ((KLWeight(free_bits=0.5), "free_bits"), (KLWeight(capacity=1.0), "capacity")):
        message = f"{name} needs a KL .* posterior of class Wrapped without unit_kl = True has an estimate of it"
        with pytest.raises(ValueError, match=message):
            Elbo(vae, kl_weight)
    Elbo(vae, KLWeight(beta=2.0))
    Elbo(vae_of(hidden=(16,), latent=2, posterior=WithUnits(normal)), KLWeight(free_bits=0.5))
    Elbo(vae_of(hidden=(16,), latent=2, posterior=normal), KLWeight(free_bits=0.5))


def test_free_bits_couple_the_examples_of_a_batch():
    assert Elbo(vae_of(), KLWeight(free_bits=0.1)).coupled == "free bits"
    assert Elbo(vae_of()).coupled is None
    assert Elbo(vae_of(channels=(2,), norm="batch")).coupled == "batch norm"
