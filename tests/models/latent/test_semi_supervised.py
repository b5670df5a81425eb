"""The semi-supervised autoencoders: every label at once is what each label gives alone."""

import math

import pytest
import torch

from danlu.data.images.info import ImageInfo
from danlu.models import VAE, SemiSupervisedVAE, StackedVAE, load_model, save_model
from danlu.models.latent.labeled_base import LabeledAutoencoder
from danlu.nn import one_hot
from danlu.nn.one_hot import cycle_classes
from danlu.tasks import unlabeled_cost

K, N, D = 4, 5, 3


def made(**settings):
    torch.manual_seed(0)
    settings = {"likelihood": "gaussian", "latent": D, "hidden": (7,), "classifier_hidden": (6,), **settings}
    return SemiSupervisedVAE((1, 4, 4), K, **settings).double().eval()


def drawn():
    source = torch.Generator().manual_seed(1)
    x = torch.rand(N, 1, 4, 4, generator=source, dtype=torch.float64)
    return x, torch.randn(N, D, generator=source, dtype=torch.float64)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"factorized": True},
        {"channels": (3,), "likelihood": "bernoulli"},
        {"likelihood": "logistic", "spread": "each"},
        {"hidden": (7, 6), "factorized": True, "likelihood": "bernoulli"},
    ],
)
def test_every_label_at_once_costs_what_each_costs_alone_and_its_gradient_too(settings):
    model, (x, noise) = made(**settings), drawn()
    at_once = model(x, noise)
    alone = [model(x, noise, one_hot(torch.full((N,), label), K, x)) for label in range(K)]
    torch.testing.assert_close(at_once.reconstruction, torch.stack([cost.reconstruction for cost in alone], 1))
    torch.testing.assert_close(at_once.kl, torch.stack([cost.kl for cost in alone], 1))
    q = model.classify(x)
    by_loop = sum(q[:, y] * (alone[y].reconstruction + alone[y].kl + math.log(K) + q[:, y].log()) for y in range(K))
    torch.testing.assert_close(unlabeled_cost(at_once), by_loop)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(unlabeled_cost(at_once).sum(), parameters, allow_unused=True)
    theirs = torch.autograd.grad(by_loop.sum(), parameters, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


def test_the_sum_over_labels_is_the_mean_over_draws_of_them():
    model, (x, noise) = made(), drawn()
    costs = model(x, noise)
    q = model.classify(x)
    each = costs.reconstruction + costs.kl + math.log(K) + q.log()
    labels = torch.multinomial(q, 40_000, replacement=True, generator=torch.Generator().manual_seed(2))
    found = each.gather(1, labels)
    error = found.std(1) / math.sqrt(labels.shape[1])
    assert ((found.mean(1) - unlabeled_cost(costs)).abs() < 4 * error + 1e-12).all()


def test_a_relaxed_draw_at_a_low_temperature_is_a_draw():
    model, (x, noise) = made(), drawn()
    uniform = torch.rand(N, K, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gumbel = -(-uniform.log()).log()
    relaxed = model(x, noise, gumbel=gumbel, temperature=1e-3)
    labels = (model.logits(x).log_softmax(1) + gumbel).argmax(1)
    hard = model(x, noise, one_hot(labels, K, x))
    torch.testing.assert_close(relaxed.reconstruction, hard.reconstruction, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(relaxed.kl, hard.kl, rtol=1e-6, atol=1e-8)


def test_the_bound_sums_over_labels():
    model, (x, _) = made(), drawn()
    found = model.log_prob_bound(x, 3, generator=torch.Generator().manual_seed(4))
    source, weights = torch.Generator().manual_seed(4), []
    for label in range(K):
        draws = torch.stack([torch.randn(N, D, generator=source, dtype=torch.float64) for _ in range(3)])
        fractions = one_hot(torch.full((N,), label), K, x)
        weights.append(model.autoencoder.log_weights(x, model.autoencoder(x, draws, fractions)))
    expected = (torch.stack(weights) - math.log(K)).logsumexp(0).logsumexp(0) - math.log(3)
    torch.testing.assert_close(found, expected)


def test_verbs():
    model, (x, _) = made(likelihood="bernoulli"), drawn()
    labels = torch.tensor([0, 1, 2, 3, 0])
    assert model.encode(x, labels).shape == (N, D)
    torch.testing.assert_close(model.classify(x).sum(1), torch.ones(N, dtype=torch.float64))
    guessed = model.classify(x).argmax(1)
    torch.testing.assert_close(model.reconstruct(x), model.decode(model.encode(x, guessed), guessed))
    a, b = (model.sample(6, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a, b)
    turns = model.sample(6, cycle_classes(6, K, x.device), generator=torch.Generator().manual_seed(5))
    assert torch.equal(a, turns)
    assert set(model.sample(2, values=True).flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("labels", "words"),
    [(torch.tensor([0]), r"labels of shape \(1,\) do not match 5"), (torch.tensor([0, 1, 2, 3, 4]), "from 0 to 4")],
)
def test_labels_that_do_not_fit_are_refused(labels, words):
    model, (x, _) = made(), drawn()
    with pytest.raises(ValueError, match=words):
        model.encode(x, labels)


def stacked():
    torch.manual_seed(1)
    first = VAE((1, 4, 4), latent=3, hidden=(8,))
    second = SemiSupervisedVAE((3,), K, latent=2, hidden=(8,), classifier_hidden=(8,), likelihood="gaussian")
    return StackedVAE(first, second).eval()


def test_the_stack_labels_codes_and_is_saved_whole(tmp_path):
    model, x = stacked(), torch.rand(N, 1, 4, 4)
    torch.testing.assert_close(model.classify(x), model.second.classify(model.first.encode(x)))
    save_model(model, tmp_path, ImageInfo((1, 4, 4), K))
    back = load_model(tmp_path)
    assert torch.equal(back.classify(x), model.classify(x))
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(5, generator=torch.Generator().manual_seed(0)).shape == (5, 1, 4, 4)
    assert model.decode(model.encode(x), torch.zeros(N, dtype=torch.long)).shape == x.shape


@pytest.mark.unchecked
def test_models_that_do_not_fit_on_each_other_are_refused():
    first = VAE((1, 4, 4), latent=3, hidden=(8,))
    for second in (
        SemiSupervisedVAE((4,), K, latent=2, hidden=(8,), classifier_hidden=(8,), likelihood="gaussian"),
        SemiSupervisedVAE((3,), K, latent=2, hidden=(8,), classifier_hidden=(8,)),
    ):
        with pytest.raises(ValueError, match="the second model must take the latents of the first"):
            StackedVAE(first, second)


def test_the_bound_of_the_stack_is_the_sum_of_all_parts():
    """With the label summed over and both codes drawn by hand."""
    model, x = stacked().double(), torch.rand(N, 1, 4, 4, dtype=torch.float64)
    source = torch.Generator().manual_seed(3)
    bound = model.log_prob_bound(x, 2, generator=source)
    source.manual_seed(3)
    draw = lambda width: torch.randn(N, width, generator=source, dtype=torch.float64)  # noqa: E731
    weights = []
    for _ in range(2):
        q = model.first.posterior(x)
        normal = torch.distributions.Normal(q.mean, (0.5 * q.log_variance).exp())
        code = q.mean + normal.scale * draw(3)
        pixels = torch.distributions.Bernoulli(model.first.decode(code), validate_args=False)
        labeled = []
        for label in range(K):
            y = torch.full((N,), label)
            r = model.second.autoencoder.inference(code, torch.nn.functional.one_hot(y, K).double())
            style = torch.distributions.Normal(r.mean, (0.5 * r.log_variance).exp())
            z = r.mean + style.scale * draw(2)
            deviation = model.second.autoencoder.likelihood._log_spread(torch.zeros(1, N, 1, 3)).exp()[0]
            p = torch.distributions.Normal(model.second.decode(z, y), deviation)
            prior = torch.distributions.Normal(torch.zeros(2, dtype=torch.float64), 1.0)
            parts = p.log_prob(code), prior.log_prob(z), -style.log_prob(z)
            labeled.append(sum(part.sum(1) for part in parts))
        log_code = torch.stack(labeled).logsumexp(0) - math.log(K)
        weights.append(pixels.log_prob(x).flatten(1).sum(1) + log_code - normal.log_prob(code).sum(1))
    torch.testing.assert_close(bound, torch.stack(weights).logsumexp(0) - math.log(2))
    with pytest.raises(ValueError, match="samples=0"):
        model.log_prob_bound(x, 0)


def test_the_stack_fills_in_and_walks():
    model, x = stacked(), torch.rand(N, 1, 4, 4)
    mask = torch.ones(N, 1, 4, 4)
    mask[..., 2:, :] = 0
    once = model.inpaint(x, mask, rounds=1)
    torch.testing.assert_close(once, torch.where(mask.bool(), x, model.reconstruct(x * mask)))
    assert not torch.equal(once, model.inpaint(x, mask))
    walk = model.interpolate(x[:2], x[2:4], 5)
    assert walk.shape == (2, 5, 1, 4, 4)
    torch.testing.assert_close(walk[:, 0], model.reconstruct(x[:2]))
    torch.testing.assert_close(walk[:, -1], model.reconstruct(x[2:4]))


def test_a_model_of_labels_must_define_its_classifier():
    model = LabeledAutoencoder()
    for method in ("classify", "class_log_probs"):
        with pytest.raises(NotImplementedError, match=f"LabeledAutoencoder must define {method}"):
            getattr(model, method)(torch.zeros(1, 2))
