"""Posteriors with a flow: their densities, their bounds beside quadrature, and what the layers depend on."""

import json
import math

import numpy as np
import pytest
import torch
from torch import distributions

from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.models import VAE, ConditionalVAE, load_model, save_model
from danlu.models.latent.flow_posterior import DRAWS
from danlu.models.latent.posterior_by_name import posterior_of
from danlu.nn import Autoregressive
from danlu.nn.transforms.planar import IDENTITY, constrained
from danlu.nn.transforms.planar_stack import planar_to_latent
from outcomes import edit_json, read_json

DOUBLE = torch.float64
FLOWS = ("planar", "iaf")
every_flow = pytest.mark.parametrize("name", FLOWS)
FEATURES = 4


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def randomized(module, scale=0.5, seed=1):
    """The module in float64 and evaluation mode, with random parameters."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().eval().parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=source, dtype=DOUBLE))
    return module


def posterior(name, latent=3, layers=3, scale=0.5):
    torch.manual_seed(0)
    return randomized(posterior_of(name, FEATURES, latent, layers, (9,), "tanh"), scale)


def invert(module, name, features, z):
    """z₀ of codes of one example, (n, latent), by the inverses of the layers, and log |det ∂z₀/∂z|."""
    with torch.no_grad():
        if name == "planar":
            w, u, b = module._split(module.layers(features))
            u, slope = constrained(w, u, IDENTITY)
            return planar_to_latent(z, w[0], u[0], slope[0], b[0, :, None])
        total = torch.zeros(len(z), dtype=z.dtype)
        for number, layer in reversed([*enumerate(module.layers)]):
            z, log_det = Autoregressive(layer.network, layer.gate).inverse(z, features.expand(len(z), -1))
            z, total = z.flip(-1) if number else z, total + log_det
        return z, total


# densities


@every_flow
@pytest.mark.parametrize("latent", [1, 3])
def test_the_log_density_of_a_draw_is_the_change_of_variables(name, latent):
    """By autograd's Jacobian from noise to codes, for each draw of each example."""
    q, noise = posterior(name, latent)(normal(4, FEATURES)), normal(2, 4, latent, seed=3)
    z, log_q = q.draw(noise)
    assert z.shape == (2, 4, latent)
    jacobian = torch.autograd.functional.jacobian(lambda e: q.draw(e)[0].sum((0, 1)), noise)
    log_det = torch.linalg.slogdet(jacobian.movedim(0, -2)).logabsdet
    expected = distributions.Normal(0.0, 1.0).log_prob(noise).sum(-1) - log_det
    torch.testing.assert_close(log_q, expected, rtol=1e-10, atol=1e-10)


@every_flow
def test_the_density_integrates_to_one_on_a_grid(name):
    module, features = posterior(name, 2, scale=0.4), normal(1, FEATURES, seed=2)
    q, noise = module(features), normal(50, 1, 2, seed=4)
    z, log_q = (values.detach() for values in q.draw(noise))

    @torch.no_grad()
    def density(points):
        base, log_det = invert(module, name, features, points)
        normals = distributions.Normal(q.base.mean[0], (0.5 * q.base.log_variance[0]).exp())
        return normals.log_prob(base).sum(-1) + log_det

    torch.testing.assert_close(density(z[:, 0]), log_q[:, 0], rtol=1e-8, atol=1e-8)
    low, high = z.amin((0, 1)) - 9, z.amax((0, 1)) + 9
    axes = [torch.linspace(float(a), float(b), 500, dtype=DOUBLE) for a, b in zip(low, high, strict=True)]
    area = math.prod(float(axis[1] - axis[0]) for axis in axes)
    total = float(density(torch.cartesian_prod(*axes)).exp().sum()) * area
    assert total == pytest.approx(1.0, abs=1e-4)


@every_flow
def test_examples_and_draws_do_not_depend_on_each_other(name):
    module, features, noise = posterior(name), normal(5, FEATURES), normal(3, 5, 3, seed=1)
    z, log_q = module(features).draw(noise)
    for draw in range(3):
        for example in range(5):
            alone = module(features[[example]]).draw(noise[draw, [example]][None])
            torch.testing.assert_close(alone[0][0, 0], z[draw, example], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(alone[1][0, 0], log_q[draw, example], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_planar_layers_of_each_example_have_an_inverse(scale, dtype):
    """wᵀû > -1 for any features, also those on which no encoder was trained, and finite densities."""
    module, features = posterior("planar", layers=6).to(dtype), (scale * normal(200, FEATURES)).to(dtype)
    layers = module.layers_for(features).keywords
    assert (layers["s"] > 0).all()
    _, before, _ = module._split(module.layers(features))
    w, u = layers["w"].double(), layers["u"].double()
    rounding = 8 * torch.finfo(dtype).eps * (w.abs() * (u.abs() + before.abs())).sum(-1)
    assert ((w * u).sum(-1) + rounding > -1).all()
    z = normal(3, 200, 3, seed=5).to(dtype)
    assert all(values.isfinite().all() for values in module.layers_for(features)(z))


def test_a_layer_of_iaf_is_triangular_and_depends_on_the_features():
    module, features = posterior("iaf", 4, 1), normal(2, FEATURES)
    layer = module.layers[0]
    z = normal(1, 2, 4, seed=2)
    jacobian = torch.autograd.functional.jacobian(lambda z: layer(z, features)[0].sum((0, 1)), z)[:, 0]
    for example in (0, 1):
        assert torch.equal(jacobian[:, example].triu(1), torch.zeros(4, 4, dtype=DOUBLE))
        assert (jacobian[:, example].diag() > 0).all()
        assert (jacobian[:, example].tril(-1) != 0).sum() == 6
    of_features = torch.autograd.functional.jacobian(lambda f: layer(z, f)[0].sum((0, 1)), features)
    assert (of_features.abs().sum((1, 2)) > 0).all(), "the first entry too"


def test_layers_of_iaf_are_the_published_formula():
    """Equations 10 to 14 with the networks of the layers, the order reversed between layers."""
    module, features, noise = posterior("iaf", 3, 2), normal(2, FEATURES), normal(1, 2, 3, seed=2)
    q = module(features)
    sigma = (0.5 * q.base.log_variance).exp()
    z, log_q = q.base.mean + sigma * noise[0], -0.5 * (noise[0].square() + math.log(2 * math.pi)) - sigma.log()
    log_q = log_q.sum(1)
    for number, layer in enumerate(module.layers):
        z = z.flip(1) if number else z
        m, s = layer.network(z, features).unbind(-1)
        sigma = torch.sigmoid(s + layer.gate.bias)
        z, log_q = sigma * z + (1 - sigma) * m, log_q - sigma.log().sum(1)
    torch.testing.assert_close(q.draw(noise), (z[None], log_q[None]), rtol=1e-11, atol=1e-11)


@every_flow
def test_gradients_by_finite_differences(name):
    """With respect to the features, the noise and all parameters."""
    module = posterior(name, 2, 2)
    names, parameters = zip(*module.named_parameters(), strict=True)

    def function(features, noise, *parameters):
        named = {f"module.{name}": p for name, p in zip(names, parameters, strict=True)}
        return torch.func.functional_call(Drawn(module), named, (features, noise))

    inputs = (normal(2, FEATURES), normal(2, 2, 2, seed=1), *(p.detach().clone() for p in parameters))
    assert torch.autograd.gradcheck(function, [x.requires_grad_() for x in inputs], fast_mode=True)


class Drawn(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, features, noise):
        return self.module(features).draw(noise)


# the identity, and the mean


def make_identity(module, name):
    """Set the parameters of the layers so that every layer is the identity; an odd number of layers of IAF."""
    with torch.no_grad():
        if name == "planar":
            for outputs in (module.layers.weight.t(), module.layers.bias[None]):
                module._split(outputs)[1].zero_()
            return
        for layer in module.layers:
            layer.network.output.weight.zero_()
            layer.network.output.bias.fill_(60.0)


@every_flow
def test_with_layers_that_are_the_identity_the_estimator_is_that_of_a_normal_posterior(name):
    torch.manual_seed(0)
    arguments = {"shape": (5,), "latent": 3, "hidden": (FEATURES,), "likelihood": "gaussian"}
    flow = VAE(**arguments, posterior=name, posterior_layers=3).double().eval()
    plain = VAE(**arguments).double().eval()
    make_identity(flow.autoencoder.inference.posterior, name)
    state = {key.replace("posterior.base.", "posterior."): value for key, value in flow.state_dict().items()}
    plain.load_state_dict({key: state[key] for key in plain.state_dict()})
    x, noise = normal(4, 5), normal(6, 4, 3, seed=1)
    found, expected = flow(x, noise), plain(x, noise)
    weights = [model.autoencoder.log_weights(x, result) for model, result in ((flow, found), (plain, expected))]
    torch.testing.assert_close(*weights, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flow.encode(x), plain.encode(x), rtol=1e-12, atol=1e-12)
    prior = distributions.Normal(0.0, 1.0).log_prob(expected.z).sum(-1)
    torch.testing.assert_close(found.kl()[:, 0], (expected.log_q - prior).mean(0), rtol=1e-12, atol=1e-12)


@every_flow
def test_the_mean_is_estimated_from_the_same_draws_each_time(name):
    """The error is below that of as many independent draws, and the same for every set of examples."""
    module, features = posterior(name, 2), normal(100, FEATURES)
    q = module(features)
    z, _ = q.draw(normal(1000, 1, 2, seed=6).expand(-1, 100, -1))
    error = (q.mean - z.mean(0)) / z.std(0)
    assert error.square().mean().sqrt() < 1 / (2 * DRAWS) ** 0.5
    assert torch.equal(q.mean, module(features).mean)
    torch.testing.assert_close(module(features[7:9]).mean, q.mean[7:9], rtol=1e-12, atol=1e-12)


# bounds beside quadrature


def hermite(points):
    """Points of the plane and their weights, for expectations over two standard normal numbers."""
    x, w = np.polynomial.hermite_e.hermegauss(points)
    weights = torch.from_numpy(w / w.sum())
    axis = torch.from_numpy(x)
    return torch.cartesian_prod(axis, axis), torch.cartesian_prod(weights, weights).prod(1)


def small_vae(name):
    torch.manual_seed(3)
    arguments = {"latent": 2, "hidden": (6,), "likelihood": "gaussian", "spread": 0.5, "activation": "tanh"}
    flow = {"posterior": name, "posterior_layers": 4, "posterior_hidden": (8,)}
    return VAE((3,), **arguments, **flow).double().eval()


def exact_elbo(vae, x, points=60):
    """The evidence lower bound of each example, the expectation over noise by quadrature."""
    noise, weights = hermite(points)
    result = vae(x, noise[:, None].expand(-1, len(x), -1))
    return weights @ vae.autoencoder.log_weights(x, result)


@torch.no_grad()
def exact_log_prob(vae, x, points=100):
    """log p(x), the integral over codes by quadrature."""
    z, weights = hermite(points)
    output = vae.autoencoder.generation(z)[:, None].expand(-1, len(x), -1, -1)
    return (vae.autoencoder.likelihood.log_prob(x, output) + weights.log()[:, None]).logsumexp(0)


@every_flow
def test_the_estimate_of_the_bound_is_unbiased_and_below_log_p(name):
    vae, x, n = randomized(small_vae(name), 0.3), normal(2, 3), 20_000
    with torch.no_grad():
        exact = exact_elbo(vae, x)
        result = vae(x, normal(n, 2, 2, seed=8))
        prior = distributions.Normal(0.0, 1.0).log_prob(result.z).sum(-1)
        estimates = -vae.autoencoder.reconstruction(x, result) - (result.log_q - prior)
    error = estimates.std(0) / n**0.5
    assert ((exact_elbo(vae, x, 50) - exact).abs() < 0.05 * error).all(), "the quadrature has converged"
    assert ((estimates.mean(0) - exact).abs() < 3 * error).all()
    torch.testing.assert_close(
        estimates.mean(0), -vae.autoencoder.reconstruction(x, result).mean(0) - result.kl()[:, 0]
    )
    assert (exact < exact_log_prob(vae, x)).all()


@every_flow
def test_the_bound_rises_with_samples_towards_log_p(name):
    vae, x, n = randomized(small_vae(name), 0.3), normal(1, 3), 3000
    source = torch.Generator().manual_seed(9)
    with torch.no_grad():
        bounds = {k: vae.log_prob_bound(x.expand(n, -1), k, generator=source) for k in (1, 4, 16)}
    log_p = exact_log_prob(vae, x)
    for fewer, more in ((1, 4), (4, 16)):
        error = ((bounds[fewer].var() + bounds[more].var()) / n) ** 0.5
        assert bounds[more].mean() - bounds[fewer].mean() > 3 * error
    assert bounds[16].mean() < log_p + 3 * bounds[16].std() / n**0.5


def best_bound(name, seed, rounds=200):
    """The bound of a posterior that is optimized for one example, and log p(x). The decoder is fixed."""
    vae, x = small_vae(name), torch.tensor([[0.6, -0.2, 0.1]], dtype=DOUBLE)
    source = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in vae.autoencoder.generation.parameters():
            parameter.copy_(1.5 * torch.randn(parameter.shape, generator=source, dtype=DOUBLE))
    inference = randomized(vae.autoencoder.inference, 0.3, seed)
    optimizer = torch.optim.Adam(inference.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    for _ in range(rounds):
        optimizer.zero_grad()
        (-exact_elbo(vae, x, 12)).sum().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float(exact_elbo(vae, x)), float(exact_log_prob(vae, x))


def test_a_flow_has_a_better_bound_than_any_normal_posterior_if_the_true_one_is_not_normal():
    """The same decoder, example and optimizer; the normal posteriors from several starts end at one bound."""
    plain = [best_bound("gaussian", seed) for seed in (1, 2)]
    assert plain[0][0] == pytest.approx(plain[1][0], abs=1e-3)
    for name in FLOWS:
        bound, log_p = best_bound(name, 1)
        assert log_p == plain[0][1], "the same decoder"
        assert plain[0][0] + 0.3 < bound < log_p


# models


@every_flow
def test_a_conditional_model_bounds_classifies_and_reconstructs(name):
    torch.manual_seed(0)
    model = ConditionalVAE((4,), 3, latent=2, hidden=(8,), likelihood="gaussian", posterior=name).double().eval()
    x, labels = normal(5, 4), torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(model.classify(x).sum(1), torch.ones(5, dtype=DOUBLE))
    result = model(x, normal(3, 5, 2, seed=1), labels)
    q = model.posterior(x, labels)
    torch.testing.assert_close(result.log_q, q.draw(normal(3, 5, 2, seed=1))[1])
    assert not torch.allclose(q.mean, model.posterior(x, (labels + 1) % 3).mean), "the layers depend on the label"
    torch.testing.assert_close(model.encode(x, labels), q.mean)
    assert model.reconstruct(x, labels).shape == x.shape
    assert model.log_prob_bound(x, 3, labels).shape == model.log_prob_bound(x, 3).shape == (5,)


def test_the_names_of_the_parameters_of_a_normal_posterior():
    """Those of models that were saved before there was a choice."""
    names = [name for name in VAE((4,), latent=2, hidden=(8,)).state_dict() if ".inference." in name]
    assert names == [
        "autoencoder.inference.encoder.first.weight",
        "autoencoder.inference.encoder.first.bias",
        "autoencoder.inference.posterior.linear.weight",
        "autoencoder.inference.posterior.linear.bias",
    ]


@pytest.mark.unchecked
def test_a_model_that_was_saved_before_there_was_a_choice(tmp_path):
    torch.manual_seed(0)
    vae, x = VAE((4,), latent=2, hidden=(8,), likelihood="gaussian").eval(), normal(3, 4).float()
    save_model(vae, tmp_path, TableInfo((4,)))
    arguments = read_json(tmp_path / "model.json")["arguments"]
    for name in ("posterior_layers", "posterior_hidden"):
        del arguments[name]
    edit_json(tmp_path / "model.json", arguments={**arguments, "posterior": None})
    back = load_model(tmp_path)
    assert torch.equal(back.encode(x), vae.encode(x))
    assert back.posterior(x).kl().shape == (3, 2)


@every_flow
def test_arguments_of_a_saved_model(name, tmp_path):
    vae = VAE((1, 4, 4), latent=2, hidden=(8,), posterior=name, posterior_layers=2, posterior_hidden=(3, 4))
    save_model(vae, tmp_path, ImageInfo((1, 4, 4), 10))
    arguments = json.loads((tmp_path / "model.json").read_text())["arguments"]
    assert (arguments["posterior"], arguments["posterior_layers"], arguments["posterior_hidden"]) == (name, 2, [3, 4])
    assert load_model(tmp_path).state_dict().keys() == vae.state_dict().keys()
    assert not [key for key in vae.state_dict() if "noise" in key]


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"posterior": "flow"}, "posterior='flow' is unknown; choose one of gaussian, planar, iaf"),
        ({"posterior": "planar", "posterior_layers": 0}, "posterior_layers=0 must be an integer >= 1"),
        ({"posterior": "iaf", "posterior_layers": 0}, "posterior_layers=0 must be an integer >= 1"),
        ({"posterior": "iaf", "posterior_hidden": (0,)}, r"posterior_hidden=\(0,\) must be integers >= 1"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        VAE((4,), latent=2, hidden=(8,), **changes)


@every_flow
def test_with_autocast_densities_have_full_precision(name):
    """The networks have low precision; the change of variables that follows does not."""
    module = posterior(name).float()
    features, noise = normal(30, FEATURES).float(), normal(2, 30, 3, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        q = module(features)
        z, log_q = q.draw(noise)
        parameters = {key: x for key, x in q.layers.keywords.items() if key != "features"}
    assert all(x.dtype == torch.float32 for x in (*q.base, z, log_q, *parameters.values()))
    if name == "planar":
        double = {key: x.double() for key, x in parameters.items()}
        torch.testing.assert_close(1 + (double["w"] * double["u"]).sum(-1), double["s"], rtol=1e-4, atol=1e-4)
