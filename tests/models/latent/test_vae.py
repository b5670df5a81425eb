"""The variational autoencoder: its verbs, its bound, and that every kind of it learns."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, distributions, nn

from danlu.data import Part, Shuffled
from danlu.data.images.info import ImageInfo
from danlu.losses import gaussian_log_prob
from danlu.models import VAE, load_model, save_model
from danlu.tasks import Elbo
from danlu.training import OptimizerSettings, Trainer

KINDS = {
    "fully connected": {"hidden": (12,)},
    "convolutional": {"hidden": (12,), "channels": (3, 4)},
    "convolutions alone": {"hidden": (), "channels": (3,)},
    "told of masks": {"hidden": (12,), "masks": True},
    "two numbers a value": {"hidden": (12,), "likelihood": "logistic", "spread": "each"},
    "normed": {"hidden": (12,), "channels": (3,), "norm": "batch"},
    "planar posterior": {"hidden": (12,), "posterior": "planar", "posterior_layers": 3},
    "iaf posterior": {"hidden": (12,), "posterior": "iaf", "posterior_layers": 2, "posterior_hidden": (5,)},
    "iaf posterior, told of masks": {"hidden": (12,), "posterior": "iaf", "posterior_layers": 2, "masks": True},
}
SHAPE = (2, 7, 6)
every_kind = pytest.mark.parametrize("kind", KINDS)


def vae_of(kind="fully connected", shape=SHAPE, **changes):
    torch.manual_seed(0)
    return VAE(shape, **{"latent": 3, **KINDS[kind], **changes}).eval()


def pictures(n, shape=SHAPE, dtype=torch.float32):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(n)).to(dtype)


@every_kind
def test_verbs_give_what_they_say(kind):
    vae, x = vae_of(kind), pictures(4)
    assert vae.encode(x).shape == (4, 3)
    assert vae.decode(torch.zeros(5, 3)).shape == (5, *SHAPE)
    assert vae.reconstruct(x).shape == x.shape
    assert vae.sample(3).shape == vae.sample(3, values=True).shape == (3, *SHAPE)
    assert vae.interpolate(x[:2], x[2:], 5).shape == (2, 5, *SHAPE)
    assert vae.log_prob_bound(x).shape == (4,)
    for n in (0, 1):
        assert vae.encode(x[:n]).shape == (n, 3)
        assert vae.reconstruct(x[:n]).shape == (n, *SHAPE)


@every_kind
@pytest.mark.parametrize("values", [False, True])
def test_samples_are_a_function_of_the_generator(kind, values):
    vae = vae_of(kind)
    draw = lambda seed: vae.sample(4, generator=torch.Generator().manual_seed(seed), values=values)  # noqa: E731
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_samples_are_decoded_codes_of_the_prior():
    vae = vae_of()
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(7))
    assert torch.equal(vae.sample(4, generator=torch.Generator().manual_seed(7)), vae.decode(z))


@every_kind
def test_both_ends_of_a_walk_are_reconstructions_and_its_middle_is_the_middle(kind):
    vae, a, b = vae_of(kind), pictures(2), pictures(4)[2:]
    walk = vae.interpolate(a, b, 5)
    torch.testing.assert_close(walk[:, 0], vae.reconstruct(a))
    torch.testing.assert_close(walk[:, -1], vae.reconstruct(b))
    torch.testing.assert_close(walk[:, 2], vae.decode((vae.encode(a) + vae.encode(b)) / 2))


@every_kind
def test_inpainting_keeps_what_is_there_and_does_not_look_at_the_rest(kind):
    vae, x = vae_of(kind), pictures(4)
    mask = torch.zeros(4, 1, 7, 6)
    mask[:, :, :3] = 1
    filled = vae.inpaint(x, mask)
    assert torch.equal(filled[:, :, :3], x[:, :, :3])
    other = torch.where(mask.bool().expand_as(x), x, torch.full_like(x, float("nan")))
    assert torch.equal(vae.inpaint(other, mask), filled), "what is missing may be anything"
    assert torch.equal(vae.inpaint(x, torch.ones(1)), x)


def test_a_model_that_is_told_decodes_once_what_it_is_told():
    vae, x = vae_of("told of masks"), pictures(2)
    mask = (pictures(2, (1, 7, 6)) > 0.5).float()
    expected = vae.decode(vae.encode(x, mask))
    filled = vae.inpaint(x, mask)
    torch.testing.assert_close(filled[mask.expand_as(x) == 0], expected[mask.expand_as(x) == 0])
    assert not torch.equal(vae.encode(x, mask), vae.encode(x * mask)), "a black pixel is not a missing one"


def test_one_that_is_not_told_goes_round():
    vae, x = vae_of(), pictures(2)
    mask = (pictures(2, (1, 7, 6)) > 0.5).float()
    filled = x * mask
    for _ in range(4):
        filled = x * mask + (1 - mask) * vae.reconstruct(filled)
    torch.testing.assert_close(vae.inpaint(x, mask, rounds=4), filled)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(3, 3), r"a mask of shape \(3, 3\) does not broadcast to \(4, 2, 7, 6\)"),
        (torch.full((7, 6), 0.5), "1 for given and 0 for missing values"),
        (torch.full((7, 6), float("nan")), "1 for given and 0 for missing values"),
        (-torch.ones(7, 6), "1 for given and 0 for missing values"),
    ],
)
def test_a_bad_mask_is_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        vae_of().inpaint(pictures(4), mask)


def direct_bound(vae, x, k, generator):
    """A loop over draws and torch's own distributions; Bernoulli pictures."""
    q = vae.posterior(x)
    posterior = distributions.Normal(q.mean, (0.5 * q.log_variance).exp())
    weights = []
    for _ in range(k):
        z = posterior.mean + posterior.stddev * torch.randn(len(x), 3, generator=generator, dtype=x.dtype)
        logits = vae.autoencoder.generation(z)[:, 0]
        values = distributions.Bernoulli(logits=logits, validate_args=False).log_prob(x).flatten(1).sum(1)
        prior = distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
        weights.append(values + prior - posterior.log_prob(z).sum(1))
    return torch.stack(weights).exp().mean(0).log() if k > 1 else weights[0]


@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize("kind", ["fully connected", "convolutional", "told of masks"])
def test_the_bound_is_a_direct_loop(k, kind):
    vae = vae_of(kind, (1, 3, 4) if kind != "convolutional" else (1, 4, 4)).double()
    x = (pictures(3, vae.autoencoder.shape, torch.float64) > 0.5).double()
    with torch.no_grad():
        ours = vae.log_prob_bound(x, k, generator=torch.Generator().manual_seed(2))
        expected = direct_bound(vae, x, k, torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_how_many_rows_at_a_time_changes_nothing():
    vae, x = vae_of().double(), pictures(3, dtype=torch.float64)
    whole, *pieces = (
        vae.autoencoder.bound(x, 11, generator=torch.Generator().manual_seed(2), rows=rows) for rows in (99, 3, 6, 1)
    )
    for piece in pieces:
        torch.testing.assert_close(piece, whole, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="samples=0 must be at least 1"):
        vae.log_prob_bound(x, 0)


@every_kind
def test_a_saved_model_is_the_same_model(kind, tmp_path):
    vae, x = vae_of(kind), pictures(3)
    save_model(vae, tmp_path, ImageInfo(SHAPE, 10))
    back = load_model(tmp_path)
    assert isinstance(back, VAE)
    assert back.arguments.keys() == vae.arguments.keys()
    assert torch.equal(back.reconstruct(x), vae.reconstruct(x))
    bounds = [model.log_prob_bound(x, 3, generator=torch.Generator().manual_seed(0)) for model in (vae, back)]
    assert torch.equal(*bounds)


# any likelihood learns


@pytest.mark.parametrize("kind", ["fully connected", "convolutional", "normed", "planar posterior", "iaf posterior"])
@pytest.mark.parametrize(
    ("likelihood", "spread"),
    [("bernoulli", "shared"), *[(f, s) for f in ("gaussian", "logistic") for s in (0.1, "shared", "each")]],
)
def test_every_likelihood_takes_a_step_with_finite_gradients(kind, likelihood, spread):
    vae = vae_of(kind, likelihood=likelihood, spread=spread)
    x = torch.cat([pictures(6), torch.zeros(1, *SHAPE), torch.ones(1, *SHAPE)])
    before = {name: value.clone() for name, value in vae.named_parameters()}
    values = (
        Trainer(Elbo(vae), OptimizerSettings(lr=1e-3), Shuffled(Part({"image": x}), 8), rounds=1).run_round().values()
    )
    assert all(torch.tensor(value).isfinite() for value in values.values())
    for name, parameter in vae.named_parameters():
        assert parameter.isfinite().all(), name
        moved = not torch.equal(parameter, before[name])
        norm_hides_bias = kind == "normed" and name.endswith("bias")
        assert moved or norm_hides_bias, name


# another posterior


class Sheared(NamedTuple):
    """A normal distribution that a map of determinant 1 + tanh' bends, as a planar flow does; no closed divergence."""

    mean: Tensor
    bend: Tensor

    def draw(self, noise):
        direction = torch.ones_like(self.bend) / self.bend.shape[-1] ** 0.5
        along = noise @ direction
        z = self.mean + noise + self.bend.norm() * direction * along.tanh()[..., None]
        log_determinant = (1 + self.bend.norm() * (1 - along.tanh().square())).log()
        return z, gaussian_log_prob(noise, torch.zeros_like(noise), 0.0, batch_dims=2) - log_determinant

    def kl(self):
        return None


class Bent(nn.Module):
    def __init__(self, features, latent):
        super().__init__()
        self.linear, self.bend = nn.Linear(features, latent), nn.Parameter(torch.ones(latent))

    def forward(self, features):
        return Sheared(self.linear(features), self.bend)


def test_the_bent_posterior_is_a_density():
    """Its log-density by a change of variables, against the derivative of the map found by autograd."""
    q = Sheared(torch.randn(1, 3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    noise = torch.randn(3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda e: q.draw(e[None, None])[0][0, 0], noise)
    expected = distributions.Normal(0.0, 1.0).log_prob(noise).sum() - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(q.draw(noise[None, None])[1][0, 0], expected)


def test_a_posterior_without_a_closed_divergence_works_in_the_bound_and_learns():
    vae = vae_of(posterior=Bent(12, 3))
    x = pictures(8)
    source = torch.Generator().manual_seed(0)
    one = vae.log_prob_bound(x.repeat(500, 1, 1, 1), 1, generator=source).view(500, 8).mean(0)
    ten = vae.log_prob_bound(x.repeat(500, 1, 1, 1), 10, generator=source).view(500, 8).mean(0)
    assert (ten > one).all()
    task = Elbo(vae, samples=4)
    first, *_, last = [
        report.values()
        for report in Trainer(task, OptimizerSettings(lr=1e-2), Shuffled(Part({"image": x}), 8), rounds=60)
    ]
    assert last["vae/reconstruction"] + last["vae/kl"] < first["vae/reconstruction"] + first["vae/kl"]
    assert vae.autoencoder.inference.posterior.bend.tolist() != [1.0, 1.0, 1.0]


def test_the_draws_of_such_a_posterior_give_the_divergence_in_expectation():
    """Where the shear is nothing the divergence is known: ½ |μ|², within five standard errors."""
    vae = vae_of(posterior=Bent(12, 3)).double()
    vae.autoencoder.inference.posterior.bend.data.zero_()
    x = pictures(2, dtype=torch.float64)
    with torch.no_grad():
        through = vae(x, torch.randn(20_000, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    expected = 0.5 * vae.encode(x).square().sum(1)
    error = vae.encode(x).norm(dim=1) / 20_000**0.5
    assert ((through.kl().sum(1) - expected).abs() < 5 * error).all()
