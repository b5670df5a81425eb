"""Training of autoencoders whose posterior has a flow: terms, gradients, turns, resume."""

import pytest
import torch
from torch import distributions

from danlu.data import Part, in_order
from danlu.models import VAE
from danlu.tasks import Elbo, KLWeight, Place
from examined import go_on, play, tiny, trainer_of
from outcomes import assert_same_tensors

FLOWS = {
    "planar": {"model.posterior": "planar", "model.posterior_layers": 2},
    "iaf": {"model.posterior": "iaf", "model.posterior_layers": 2, "model.posterior_hidden": (6,)},
}
RECIPES = ("vae", "beta-vae", "inpainting-vae", "conditional-vae")
every_flow = pytest.mark.parametrize("name", FLOWS)


def vae_of(name):
    torch.manual_seed(0)
    return VAE((4,), latent=3, hidden=(8,), likelihood="gaussian", posterior=name, posterior_layers=2).double()


def entered(task, n, round=0):
    """The task in a turn, as the trainer enters it."""
    task.enter(Place(0, round, 0, slice(0, n), n, torch.device("cpu"), torch.float64))
    return task


def batch_of(n=7):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0)).double()
    return next(in_order(Part({"x": x}), n))


@every_flow
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("kl_weight", [KLWeight(), KLWeight(beta=3.0, warmup=10)])
def test_the_second_term_is_log_q_minus_log_p(name, samples, kl_weight):
    vae, batch = vae_of(name), batch_of()
    task = entered(Elbo(vae, kl_weight, samples, inputs="x"), 7)
    terms = task.fit(batch, 5)
    z, log_q = vae.posterior(batch["x"]).draw(entered(task, 7).noise((samples, 3)).transpose(0, 1))
    kl = (log_q - distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)).mean(0)
    factor, term = (1.0, "kl") if kl_weight == KLWeight() else (1.5, "weighted_kl")
    torch.testing.assert_close(terms[term], factor * kl)
    scores = entered(Elbo(vae, kl_weight, inputs="x"), 7).scores(batch)
    torch.testing.assert_close(scores["elbo"], -scores["reconstruction"] - scores["kl"])
    if samples == 1:
        torch.testing.assert_close(scores["kl"], kl)


@every_flow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_parameter_gets_a_gradient(name, recipe):
    trainer = trainer_of(tiny(recipe, **FLOWS[name]))
    seen = set()
    for _ in trainer:
        (player,) = trainer.players.values()
        gradients = zip(player.names_with_gradient(), player.gradients(), strict=True)
        seen |= {parameter for parameter, gradient in gradients if gradient.any()}
    assert seen == {parameter for parameter, _ in player.module.named_parameters()}


@every_flow
@pytest.mark.parametrize("changes", [{}, {"separate": True}, {"objective": "iwae", "samples": 3}], ids=str)
def test_stopped_and_resumed_it_ends_bit_for_bit_the_same(name, changes, tmp_path):
    recipe = tiny("vae", **FLOWS[name], **changes)
    whole = play(trainer_of(recipe))
    first = trainer_of(recipe)
    for report in first:
        if report.round == 2:
            break
    assert_same_tensors(whole, play(go_on(first, trainer_of(recipe), tmp_path)))


@every_flow
def test_the_first_model_of_semi_vae_can_have_a_flow(name):
    """Its negative bound, with the estimate of the divergence, is what is trained in the first rounds."""
    changes = {key.replace("model.", "first."): value for key, value in FLOWS[name].items()}
    trainer = trainer_of(tiny("semi-vae", **changes))
    reports = [report.values() for report in trainer]
    assert {"first/reconstruction", "first/kl"} <= reports[0].keys()
    assert all(torch.tensor(value).isfinite() for report in reports for value in report.values())
    with torch.no_grad():
        x = trainer.task.model.first.decode(torch.zeros(3, 3))
        assert trainer.task.model.log_prob_bound(x, 2).isfinite().all()
