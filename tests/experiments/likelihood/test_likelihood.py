"""The experiments on likelihood and autoencoders: what they rest on against something independent, and verdicts."""

from copy import deepcopy
from itertools import product

import pytest
import torch

from danlu.experiments.harness.trainers import from_seed
from danlu.experiments.likelihood import beta_vae, distillation, elbo, mle_vs_sum
from danlu.models import VAE


def test_bars_are_the_pictures_of_whole_rows_or_columns():
    found = set()
    for on in product([0, 1], repeat=3):
        rows = [[value] * 3 for value in on]
        for picture in (rows, [list(line) for line in zip(*rows, strict=True)]):
            found.add(int("".join(str(value) for line in picture for value in line), 2))
    assert mle_vs_sum.bars() == sorted(found)


@pytest.mark.parametrize("side", [2, 3])
def test_gradients_are_those_of_the_formula(side):
    """At log-odds 0 every picture has p = 2^-d, and d log p / d odds is x - 1/2."""
    from danlu.rng import generator

    d = side**2
    x = (torch.rand(64, d, generator=generator("pictures", 5)) < 0.3).double()
    expected = (x - 0.5).mean(0).norm()
    assert mle_vs_sum.gradient("sum of log p", side, 5) == pytest.approx(float(expected), rel=1e-5)
    assert mle_vs_sum.gradient("sum of p", side, 5) == pytest.approx(float(expected) * 2.0**-d, rel=1e-5)


def test_what_is_forgotten_and_reached_by_hand():
    even, greedy = [1 / 14] * 14, [1.0] + [0.0] * 13
    assert (mle_vs_sum.forgotten(even, 1), mle_vs_sum.forgotten(greedy, 1)) == (0, 13)
    assert mle_vs_sum.reached(even, 1) == pytest.approx(1.0)
    assert mle_vs_sum.reached(greedy, 2) == pytest.approx(1.0)
    assert mle_vs_sum.reached([2 / 15] + [1 / 15] * 13, 2) == pytest.approx((4 + 13) / 15**2 / (2 / 15))


# the bound


def linear_vae(seed=0):
    make = lambda: VAE(  # noqa: E731
        (1, 8, 8), elbo.LATENT, (elbo.WIDTH,), activation="identity", likelihood="gaussian"
    ).double()
    return from_seed(make, seed)


def test_the_decoder_is_read_off_as_one_map():
    vae = linear_vae()
    z = torch.randn(5, elbo.LATENT, dtype=torch.float64)
    model = elbo.closed_form(vae)
    torch.testing.assert_close(vae.decode(z).flatten(1), z @ model.weights.T + model.bias)
    torch.manual_seed(0)
    drawn = vae.sample(4000, values=True).flatten(1)
    noise = vae.autoencoder.likelihood.draw(torch.zeros(4000, 1, 64, dtype=torch.float64))
    assert noise.var().item() == pytest.approx(model.variance, rel=0.02)
    assert (drawn.var(0) - model.marginal().variance).abs().max() < 0.15 * model.marginal().variance.max()


def test_log_p_is_the_integral_over_codes():
    """By importance weights from the posterior, all of which are p(x) then."""
    model, x = elbo.closed_form(linear_vae()), torch.rand(3, 64, dtype=torch.float64)
    posterior = model.posterior(x)
    z = posterior.sample((4,))
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    given = torch.distributions.Normal(z @ model.weights.T + model.bias, model.variance**0.5).log_prob(x).sum(-1)
    weights = prior + given - posterior.log_prob(z)
    torch.testing.assert_close(weights, model.marginal().log_prob(x).expand(4, 3), rtol=1e-8, atol=1e-8)


def test_three_terms_agree_with_draws_and_the_posterior_changes_no_p():
    vae, x = linear_vae(), torch.rand(6, 1, 8, 8, dtype=torch.float64)
    found = elbo.three_terms(vae, x)
    with torch.no_grad():
        draws = vae.log_prob_bound(x.repeat(5000, 1, 1, 1), generator=torch.Generator().manual_seed(0)).view(5000, 6)
    error = draws.mean(1).std() / 5000**0.5
    assert abs(draws.mean() - found["elbo"]) < 3 * error
    exact = elbo.three_terms(elbo.with_the_posterior(vae), x)
    assert exact["log_p"] == pytest.approx(found["log_p"], abs=1e-9)
    assert exact["divergence"] == pytest.approx(0.0, abs=1e-9)


def test_a_wrong_divergence_is_judged_not_to_hold(monkeypatch):
    monkeypatch.setattr("danlu.models.latent.autoencoder.gaussian_log_prob", lambda x, *_, **__: -x.square().sum(-1))
    found = elbo.EXPERIMENT.run(quick=True).verdict
    states = [found.judgment.finding(one.clause).state for one in (elbo.EQUAL, elbo.TIGHT)]
    assert states == ["refuted", "refuted"]
    assert "both sides are equal" in found.reason


# rate and distortion


def changes(*points, betas=(1.0, 2.0)):
    """The weakest changes along one run of (KL, reconstruction)."""
    models = {
        beta_vae.arm(beta): {"KL": [kl], "reconstruction": [term]}
        for beta, (kl, term) in zip(betas, points, strict=True)
    }
    return {name: values[0] for name, values in beta_vae.weakest_changes(betas, models).items()}


def test_the_weakest_change_by_hand():
    found = changes((8.0, 10.0), (4.0, 11.0), (3.0, 22.0), betas=(0.5, 1.0, 2.0))
    assert (found["KL"], found["reconstruction"]) == (pytest.approx(4 / 3), pytest.approx(1.1))
    assert changes((4.0, 10.0), (5.0, 9.0))["KL"] == pytest.approx(0.8)


def test_the_advantage_is_that_at_the_own_beta():
    # at β = 1 16 against 17, at β = 2 22 against 21
    found = changes((6.0, 10.0), (4.0, 13.0))
    assert found["own"] == pytest.approx(min(1 - 16 / 17, 1 - 21 / 22))
    # a step with another price than β: the second is better at both
    assert changes((6.0, 10.0), (4.0, 11.0))["own"] == pytest.approx(1 - 16 / 15)


def test_models_on_a_curve_of_falling_slope_are_best_at_their_own_beta():
    """D = 1/R has its minimum of D + β R at R = 1/√β."""
    betas = (0.25, 1.0, 4.0, 16.0)
    found = changes(*((beta**-0.5, beta**0.5) for beta in betas), betas=betas)
    assert (found["KL"], found["reconstruction"]) == (2.0, 2.0)
    assert found["own"] == pytest.approx(1 - 4 / 5)  # 2 √β against √β / 2 + 2 √β


def test_both_terms_are_the_closed_form_and_the_squared_error_over_twice_the_variance():
    make = lambda: VAE((1, 8, 8), beta_vae.LATENT, (16,), likelihood="gaussian", spread=beta_vae.SPREAD)  # noqa: E731
    vae = from_seed(make, 0).eval()
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = beta_vae.both_terms(vae, x, 0)
    with torch.no_grad():
        q = vae.posterior(x)
        normal = torch.distributions.Normal(q.mean, (q.log_variance / 2).exp())
        kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
        torch.manual_seed(0)
        squared = (vae.decode(normal.sample((200,)).flatten(0, 1)) - x.repeat(200, 1, 1, 1)).square()
    assert found["KL"] == pytest.approx(kl.item(), rel=1e-5)
    expected = float(squared.sum()) / (200 * 20) / (2 * beta_vae.SPREAD**2)
    assert found["reconstruction"] == pytest.approx(expected, rel=0.01)  # of 16 draws and of 200


def test_a_beta_that_does_nothing_is_judged_not_to_trade(monkeypatch):
    real = beta_vae.KLWeight
    monkeypatch.setattr(beta_vae, "KLWeight", lambda beta: real(1.0))
    judgment = beta_vae.EXPERIMENT.run(quick=True).verdict.judgment
    assert {judgment.finding(one.clause).state for one in beta_vae.CRITERIA.clauses} == {"refuted"}


def test_objectives_that_are_one_and_the_same_do_not_hold(monkeypatch):
    monkeypatch.setattr(mle_vs_sum, "train", lambda objective, copies, rounds, seed: mle_vs_sum._frequencies(copies))
    judgment = mle_vs_sum.EXPERIMENT.run(quick=True).verdict.judgment
    assert [judgment.finding(one.clause).state for one in mle_vs_sum.FORGETS.values()] == ["refuted", "refuted"]


# distillation


def learned_by_an_oracle(seed, teacher_rounds, rounds, change=1e-4):
    """The student is the teacher, up to a small change of its weights."""
    models = {arm: distillation.make(arm, seed).eval() for arm in (distillation.TEACHER, distillation.INDEPENDENT)}
    student = deepcopy(models[distillation.TEACHER])
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1 + change)
    return distillation.Trained({**models, distillation.STUDENT: student}, [1.0, 0.0])


@pytest.mark.long
def test_a_student_with_the_density_of_its_teacher_is_near(monkeypatch):
    """But it does not generate faster."""
    monkeypatch.setattr(distillation, "learn", learned_by_an_oracle)
    for name, value in {"REPEATS": 3, "STEPS": 1, "DRAWS": 200, "GENERATED": 50}.items():
        monkeypatch.setattr(distillation, name, value)
    judgment = distillation.EXPERIMENT.run(quick=True).verdict.judgment
    for one in (distillation.NEAR, distillation.CLOSE, distillation.COVERS, distillation.LIKELY):
        assert judgment.supported(one.clause), one.clause
    assert not judgment.supported(distillation.FAST.clause)


def test_both_divergences_are_those_of_the_two_distributions():
    """Independent pixels: two normal distributions of logits."""
    models = {arm: distillation.make(distillation.INDEPENDENT, 0).eval() for arm in ("teacher", "student")}
    with torch.no_grad():
        models["student"].transform.shift.fill_(0.3)
        models["student"].transform.log_scale.fill_(0.5)
    p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.3, torch.tensor(-0.5).exp())
    for found, one, other in (
        (distillation.divergence(models, "student"), q, p),
        (distillation.reverse(models, "student", 0), p, q),
    ):
        assert found == pytest.approx(64 * torch.distributions.kl_divergence(one, other).item(), rel=0.05)


def test_steps_train_copies_of_the_model_of_the_arm():
    models = {arm: distillation.make(arm, 0) for arm in (distillation.TEACHER, distillation.STUDENT)}
    before = deepcopy(models)
    for arm in (distillation.OF_TEACHER, distillation.FROM_DATA, distillation.DISTILLED):
        distillation.stepping(models, arm, 0)()
        trained = distillation.trainer(models, arm, 0, 1).task.players()
        assert set(trained) == ({"student"} if arm == distillation.DISTILLED else {"model"})
        name = distillation.TEACHER if arm == distillation.OF_TEACHER else distillation.STUDENT
        assert next(iter(trained.values())) is models[name]
    for name, model in models.items():
        assert all(torch.equal(value, before[name].state_dict()[key]) for key, value in model.state_dict().items())


def test_a_time_is_the_median_and_the_first_call_is_left_out():
    calls = []
    times = distillation.alternating({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")})
    assert calls == ["a", "b"] * (distillation.REPEATS + 1)
    assert all(0 <= value < 1 for value in times.values())
