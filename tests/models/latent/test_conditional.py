"""The conditional autoencoder: its bound is one of log p(x | y), and labels are told from bounds by Bayes' rule."""

import math

import pytest
import torch

from danlu.data import Part, in_order
from danlu.data.images.info import ImageInfo
from danlu.models import DRAWS, ConditionalVAE, SemiSupervisedVAE, load_model, save_model
from danlu.nn import one_hot
from danlu.tasks import Elbo, Masks, Place
from danlu.verbs import verbs_of

K, N, D = 4, 5, 3
LABELS = torch.tensor([0, 1, 2, 3, 0])


def made(shape=(1, 4, 4), **settings):
    torch.manual_seed(0)
    return ConditionalVAE(shape, K, **{"latent": D, "hidden": (7,), **settings}).double().eval()


def pictures():
    return torch.rand(N, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def linear():
    """A model whose likelihood is known: x | y, z is normal around W z + V y + b, so x | y is normal as well."""
    model = made((6,), hidden=(8,), likelihood="gaussian", spread=0.5)
    source = torch.Generator().manual_seed(2)
    w, v, b = (torch.randn(shape, generator=source).double() for shape in ((6, D), (6, K), (6,)))
    return model, w, v, b


class Affine(torch.nn.Module):
    def __init__(self, w, v, b):
        super().__init__()
        self.w, self.v, self.b = w, v, b

    def forward(self, z):
        return (z[:, :D] @ self.w.T + z[:, D:] @ self.v.T + self.b)[:, None]


def test_the_bound_nears_the_likelihood_of_a_linear_model_and_labels_are_those_of_bayes():
    model, w, v, b = linear()
    model.autoencoder.generation.decoder = Affine(w, v, b)
    x = torch.randn(N, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    covariance = w @ w.T + 0.25 * torch.eye(6, dtype=torch.float64)
    given_label = [torch.distributions.MultivariateNormal(v[:, y] + b, covariance) for y in range(K)]
    exact = torch.stack([one.log_prob(x) for one in given_label], 1)
    posterior = torch.linalg.inv(torch.eye(D, dtype=torch.float64) + w.T @ w / 0.25)

    class Exact(torch.nn.Module):
        """The true posterior of the code, which is normal."""

        def forward(self, features):
            x, y = features
            mean = (x - y @ v.T - b) @ w @ posterior / 0.25
            return Full(mean, torch.linalg.cholesky(posterior))

    class Full:
        def __init__(self, mean, root):
            self.mean, self.root = mean, root

        def draw(self, noise):
            z = self.mean + noise @ self.root.T
            return z, torch.distributions.MultivariateNormal(self.mean, scale_tril=self.root).log_prob(z)

        def kl(self):
            return None

    model.autoencoder.inference.encoder = Both()
    model.autoencoder.inference.posterior = Exact()
    given = model.log_prob_bound(x, 1, LABELS, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(given, exact[torch.arange(N), LABELS], rtol=1e-9, atol=1e-9)
    without = model.log_prob_bound(x, 1, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(without, exact.logsumexp(1) - math.log(K), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.classify(x), exact.softmax(1), rtol=1e-9, atol=1e-12)


class Both(torch.nn.Module):
    def forward(self, x, label=None):
        return x, label


def test_bounds_are_direct_sums_over_labels():
    model, x = made(), pictures()
    found = model.log_prob_bound(x, 3, generator=torch.Generator().manual_seed(4))
    source, weights = torch.Generator().manual_seed(4), []
    for label in range(K):
        draws = torch.stack([torch.randn(N, D, generator=source, dtype=torch.float64) for _ in range(3)])
        through = model(x, draws, torch.full((N,), label))
        weights.append(model.autoencoder.log_weights(x, through))
    expected = (torch.stack(weights) - math.log(K)).logsumexp(0).logsumexp(0) - math.log(3)
    torch.testing.assert_close(found, expected)


def test_labels_are_told_by_bayes_rule_the_same_each_time():
    model, x = made(), pictures()
    bounds = []
    for label in range(K):
        through = model(x, model.noise.double().expand(DRAWS, N, D), torch.full((N,), label))
        bounds.append(model.autoencoder.log_weights(x, through).exp().mean(0))
    expected = torch.stack(bounds, 1)
    found = model.classify(x)
    torch.testing.assert_close(found, expected / expected.sum(1, keepdim=True))
    assert torch.equal(found, model.classify(x))
    torch.testing.assert_close(found[:2], model.classify(x[:2]), msg="who else is in the batch does not matter")


@pytest.mark.parametrize("settings", [{}, {"channels": (3,)}, {"likelihood": "logistic", "spread": "each"}])
def test_verbs(settings):
    model, x = made(**settings), pictures()
    assert {"sample", "classify", "encode", "decode", "reconstruct", "inpaint", "interpolate"} < set(verbs_of(model))
    guessed = model.classify(x).argmax(1)
    for labels, told in ((None, guessed), (LABELS, LABELS)):
        codes = model.encode(x, labels)
        assert codes.shape == (N, D)
        torch.testing.assert_close(codes, model.posterior(x, labels).mean)
        torch.testing.assert_close(model.reconstruct(x, labels), model.decode(codes, told))
    walk = model.interpolate(x[:2], x[2:4], 3)
    torch.testing.assert_close(walk[:, 0], model.reconstruct(x[:2]))
    torch.testing.assert_close(walk[:, 2], model.reconstruct(x[2:4]))
    drawn = model.sample(6, generator=torch.Generator().manual_seed(5))
    turns = model.sample(6, torch.tensor([0, 1, 2, 3, 0, 1]), generator=torch.Generator().manual_seed(5))
    assert torch.equal(drawn, turns)
    assert model.sample(3, torch.full((3,), 2), values=True).shape == (3, 1, 4, 4)
    assert model.encode(x[:0]).shape == (0, D)


@pytest.mark.parametrize("kind", [ConditionalVAE, SemiSupervisedVAE])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_inpainting_keeps_what_is_there_and_does_not_look_at_the_rest(kind, labels):
    torch.manual_seed(0)
    model, x = kind((1, 4, 4), K, latent=D, hidden=(7,)).double().eval(), pictures()
    mask = torch.zeros(1, 4, 4)
    mask[:, :2] = 1
    filled = model.inpaint(x, mask, labels)
    assert torch.equal(filled[:, :, :2], x[:, :, :2])
    other = torch.where(mask.bool(), x, torch.full_like(x, float("nan")))
    assert torch.equal(model.inpaint(other, mask, labels), filled)
    again = x * mask
    for _ in range(3):
        again = x * mask + (1 - mask) * model.reconstruct(again, labels)
    torch.testing.assert_close(model.inpaint(x, mask, labels, rounds=3), again)
    with pytest.raises(ValueError, match="a mask of"):
        model.inpaint(x, torch.ones(3, 3))


def test_a_saved_model_says_the_same(tmp_path):
    torch.manual_seed(0)
    model = ConditionalVAE((1, 4, 4), K, latent=D, hidden=(7,)).eval()
    save_model(model, tmp_path, ImageInfo((1, 4, 4), K))
    x = pictures().float()
    assert torch.equal(load_model(tmp_path).classify(x), model.classify(x))


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("labels", "words"),
    [(torch.tensor([0]), r"labels of shape \(1,\) do not match 5"), (torch.tensor([0, 1, 2, 3, 4]), "from 0 to 4")],
)
@pytest.mark.parametrize("verb", ["encode", "reconstruct", "log_prob_bound"])
def test_labels_that_do_not_fit_are_refused(verb, labels, words):
    model, x = made(), pictures()
    given = (x, 1, labels) if verb == "log_prob_bound" else (x, labels)
    with pytest.raises(ValueError, match=words):
        getattr(model, verb)(*given)


def test_a_conditional_model_in_the_game_of_the_bound():
    model = made().train()
    task = Elbo(model)
    batch = next(in_order(Part({"image": pictures(), "label": LABELS}), N))

    def enter():
        task.enter(Place(0, 0, 0, slice(0, N), N, torch.device("cpu"), torch.float64))

    enter()
    terms = task.fit(batch, 0)
    enter()
    noise = task.noise((1, D)).transpose(0, 1)
    through = model.autoencoder(batch["image"], noise, one_hot(LABELS, K, batch["image"]))
    logits = through.output[:, 0]
    values = torch.distributions.Bernoulli(logits=logits, validate_args=False).log_prob(batch["image"])
    torch.testing.assert_close(terms["reconstruction"], -values.flatten(1).sum(1))
    q = torch.distributions.Normal(through.posterior.mean, (0.5 * through.posterior.log_variance).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(terms["kl"], kl)
    enter()
    scores = task.scores(batch)
    error = (model.reconstruct(batch["image"], LABELS) - batch["image"]).square().flatten(1).mean(1)
    torch.testing.assert_close(scores["squared_error_given_label"], error)
    torch.testing.assert_close(scores["elbo_given_label"], values.flatten(1).sum(1) - kl)
    assert task.scores_of_part(Part({"image": pictures(), "label": LABELS})).keys() == {"active_units_given_label"}
    with pytest.raises(ValueError, match="masks cannot be used with a conditional model"):
        Elbo(model, masks=Masks(0.5))


def test_the_random_numbers_of_the_labels_are_no_weights():
    """They are constant, so files do not hold them."""
    net = ConditionalVAE((4,), 2, latent=2, hidden=(3,))
    assert "noise" in dict(net.named_buffers())
    assert "noise" not in net.state_dict()
