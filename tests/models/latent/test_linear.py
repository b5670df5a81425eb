"""The bound of a linear model, where log p(x) and the posterior have closed forms."""

import pytest
import torch

from latent_linear import LATENT, linear


@pytest.fixture
def x():
    return 1.5 * torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def cubature(n):
    """Noise ±√d e_i, whose mean of any polynomial of degree three is the normal expectation."""
    points = LATENT**0.5 * torch.cat([torch.eye(LATENT), -torch.eye(LATENT)]).double()
    return points[:, None].expand(-1, n, -1)


def parts(model, x):
    """Distortion and log weights of the cubature points; their means are exact expectations."""
    through = model.vae(x, cubature(len(x)))
    return model.vae.autoencoder.reconstruction(x, through), model.vae.autoencoder.log_weights(x, through)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_log_p_less_the_divergence_from_the_true_posterior(seed, x):
    model = linear(seed, exact=False)
    reconstruction, log_weights = parts(model, x)
    torch.testing.assert_close(log_weights.mean(0), model.elbo(x), rtol=1e-10, atol=1e-10)
    kl = model.vae.posterior(x).kl().sum(1)
    torch.testing.assert_close(-reconstruction.mean(0) - kl, model.elbo(x), rtol=1e-10, atol=1e-10)
    assert (model.elbo(x) < model.log_prob(x)).all()


@pytest.mark.parametrize("samples", [1, 3])
def test_at_the_true_posterior_every_draw_gives_log_p(samples, x):
    model = linear()
    bound = model.vae.log_prob_bound(x, samples)
    torch.testing.assert_close(bound, model.log_prob(x), rtol=1e-10, atol=1e-10)


def test_the_encoder_of_this_model_gives_the_true_posterior(x):
    model = linear()
    found, true = model.vae.posterior(x), model.posterior(x)
    torch.testing.assert_close(found.mean, true.mean)
    torch.testing.assert_close(torch.diag_embed(found.log_variance.exp()), true.covariance_matrix)


def test_the_bound_from_draws_is_below_log_p_for_any_encoder(x):
    """The mean over draws with mean 0 and covariance 1: exact, because log weights are quadratic in the draws."""
    for seed in range(5):
        model = linear(seed, exact=False)
        noise = torch.randn(50, len(x), LATENT, generator=torch.Generator().manual_seed(seed)).double()
        noise = noise - noise.mean(0)
        covariance = torch.einsum("kni,knj->nij", noise, noise) / len(noise)
        noise = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), noise[..., None], upper=False)[..., 0]
        with torch.no_grad():
            bound = model.vae.autoencoder.log_weights(x, model.vae(x, noise)).mean(0)
        torch.testing.assert_close(bound, model.elbo(x), rtol=1e-10, atol=1e-10)
        assert (bound < model.log_prob(x)).all()


def test_the_gradient_of_the_bound_is_the_analytic_one(x):
    """The estimator's expectation by cubature, against the derivative of the closed form."""
    model = linear(exact=False)
    # of the closed form only the encoder's weights are variables: the decoder's are in it as W and b
    encoder = list(model.vae.autoencoder.inference.parameters())
    reconstruction, _ = parts(model, x)
    estimated = torch.autograd.grad((-reconstruction.mean(0) - model.vae.posterior(x).kl().sum(1)).sum(), encoder)
    for found, expected in zip(estimated, torch.autograd.grad(model.elbo(x).sum(), encoder), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_the_decoders_gradient_is_the_analytic_one(x):
    model = linear()
    first = model.vae.autoencoder.generation.decoder.first
    _, log_weights = parts(model, x)
    weight, bias = torch.autograd.grad(log_weights.mean(0).sum(), (first.weight, first.bias))
    w, b = model.weights.clone().requires_grad_(), model.bias.clone().requires_grad_()
    # at the true posterior the divergence has its minimum, so this is the gradient of log p(x) itself
    model._replace(weights=w, bias=b).log_prob(x).sum().backward()
    torch.testing.assert_close(weight[:, :LATENT], w.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(bias, b.grad, rtol=1e-9, atol=1e-9)


def test_the_mean_of_sampled_gradients_is_the_analytic_one(x):
    """Every weight within five standard errors, over 2000 gradients from one draw each."""
    model, draws = linear(exact=False), 2000
    encoder = list(model.vae.autoencoder.inference.parameters())
    source = torch.Generator().manual_seed(3)
    gradients = []
    for _ in range(draws):
        through = model.vae(x, torch.randn(1, len(x), LATENT, generator=source, dtype=x.dtype))
        bound = -model.vae.autoencoder.reconstruction(x, through)[0] - through.posterior.kl().sum(1)
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(bound.sum(), encoder)]))
    found = torch.stack(gradients)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(model.elbo(x).sum(), encoder)])
    away = (found.mean(0) - expected) / (found.std(0) / draws**0.5)
    assert away.abs().max() < 5
    assert found.std(0).min() > 0, "every weight was really estimated"


def test_the_importance_bound_rises_with_its_draws_and_stays_below_log_p(x):
    """By three standard errors each, of the mean over 2000 bounds."""
    model, repeats = linear(exact=False), 2000
    source = torch.Generator().manual_seed(5)
    means, errors = [], []
    with torch.no_grad():
        for k in (1, 5, 50):
            many = x.repeat(repeats, 1)
            bounds = model.vae.log_prob_bound(many, k, generator=source).view(repeats, len(x)).sum(1)
            means.append(bounds.mean())
            errors.append(bounds.std() / repeats**0.5)
    limit = model.log_prob(x).sum()
    for lower, upper, a, b in zip(means, [*means[1:], limit], errors, [*errors[1:], torch.tensor(0.0)], strict=True):
        assert upper - lower > 3 * (a.square() + b.square()).sqrt()


def test_samples_have_the_marginals_mean_and_covariance():
    model, n = linear(), 40_000
    drawn = model.vae.sample(n, generator=torch.Generator().manual_seed(0), values=True)
    covariance = model.weights @ model.weights.T + model.variance * torch.eye(5, dtype=drawn.dtype)
    error = (covariance.diagonal() / n).sqrt()
    assert ((drawn.mean(0) - model.bias).abs() < 5 * error).all()
    spread = (covariance.diagonal()[:, None] * covariance.diagonal() + covariance.square()).div(n).sqrt()
    assert ((drawn.T.cov() - covariance).abs() < 5 * spread).all()
