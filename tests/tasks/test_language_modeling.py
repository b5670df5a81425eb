"""Truncated backpropagation through time against the whole of it, and a text cut in different ways."""

import math

import pytest
import torch
from torch.nn import functional as F

from danlu.data import Batch, Lanes, Part
from danlu.metrics import Reading, read_through
from danlu.models import LanguageModel
from danlu.nn import Recurrent
from danlu.tasks import Language, NoiseContrastive, Place
from danlu.tasks.noise_contrastive import Noise
from danlu.training import OptimizerSettings, Runtime, Trainer, evaluate

V = 6


def model_of(kind="lstm", **changes):
    torch.manual_seed(0)
    return LanguageModel(V, **{"kind": kind, "width": 5, "layers": 2, **changes}).double()


def part_of(tokens=61):
    return Part({"token": torch.randint(V, (tokens,), generator=torch.Generator().manual_seed(2), dtype=torch.int32)})


def terms_of(task, stream, steps):
    rows = slice(0, stream.size)
    return [task.fit(stream.batch(p, rows))["cross_entropy"].view(stream.size, -1) for p in range(steps)]


def gradients(task, losses):
    task.zero_grad()
    torch.cat(losses, 1).mean().backward()
    return [p.grad.clone() for p in task.parameters()]


@pytest.mark.parametrize("kind", ["rnn", "lstm", "peephole", "gru", "convolution"])
def test_the_loss_of_a_text_does_not_depend_on_how_it_is_cut(kind):
    """Steps of 1, 4, 5 and 20 tokens in three lanes of 20, one term for each token."""
    whole = torch.cat(terms_of(Language(model_of(kind), 3), Lanes(part_of(), 3, 20), 1), 1)
    for length in (1, 4, 5):
        losses = terms_of(Language(model_of(kind), 3), Lanes(part_of(), 3, length), 20 // length)
        torch.testing.assert_close(torch.cat(losses, 1), whole)


def test_a_step_as_long_as_the_text_is_backpropagation_through_all_of_it():
    """Gradients by autograd through a loop of single steps, nothing detached."""
    task, stream = Language(model_of(), 2), Lanes(part_of(25), 2, 12)
    found = gradients(task, terms_of(task, stream, 1))
    batch, state, losses = stream.batch(0, slice(0, 2)), None, []
    for t in range(12):
        logits, state = task.language.step(batch["token"][:, t], state)
        losses.append(F.cross_entropy(logits, batch["target"][:, t], reduction="none")[:, None])
    for a, b in zip(found, gradients(task, losses), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_stop_at_the_beginning_of_a_step():
    """Those of two steps are the sum of each one's from the state that the first has left, a number."""
    task, stream = Language(model_of(), 2), Lanes(part_of(25), 2, 6)
    found = gradients(task, terms_of(task, stream, 2))
    first, second = (stream.batch(p, slice(0, 2)) for p in range(2))
    model = task.language
    one, state = model.log_probs(first["token"], first["target"])
    two, _ = model.log_probs(second["token"], second["target"], state.detach())
    for a, b in zip(found, gradients(task, [-one, -two]), strict=True):
        torch.testing.assert_close(a, b)
    one, state = model.log_probs(first["token"], first["target"])
    through, _ = model.log_probs(second["token"], second["target"], state)
    whole = gradients(task, [-one, -through])
    assert any(not torch.allclose(a, b) for a, b in zip(found, whole, strict=True))


def test_a_lane_that_begins_anew_has_no_state():
    task, stream = Language(model_of(), 2), Lanes(part_of(25), 2, 6)
    terms_of(task, stream, 2)
    fields = {"token": torch.zeros(2, 3, dtype=torch.long), "target": torch.zeros(2, 3, dtype=torch.long)}
    one = torch.tensor([True, False])
    mixed = task.fit(Batch({**fields, "fresh": one}, slice(0, 2), 2, torch.arange(2)))["cross_entropy"].view(2, 3)
    new = Language(model_of(), 2).fit(Batch({**fields, "fresh": ~one | one}, slice(0, 2), 2, torch.arange(2)))
    torch.testing.assert_close(mixed[0], new["cross_entropy"].view(2, 3)[0])
    assert not torch.allclose(mixed[1], new["cross_entropy"].view(2, 3)[1])


def test_targets_that_do_not_count_have_no_term():
    task, batch = Language(model_of(), 2), Lanes(part_of(25), 2, 6).batch(0, slice(0, 2))
    valid = torch.arange(6) < torch.tensor([[6], [4]])
    whole = task.fit(batch)["cross_entropy"]
    batch.fields["valid"] = valid
    torch.testing.assert_close(Language(model_of(), 2).fit(batch)["cross_entropy"], whole[valid.flatten()])


@pytest.mark.parametrize("lanes", [1, 3, 7])
def test_a_text_is_read_through_whatever_comes_at_a_time(lanes, monkeypatch):
    """Against one call over each lane; the state is carried, also into a last batch of the first lanes alone."""
    model, part = model_of(), part_of(31)
    monkeypatch.setattr("danlu.metrics.perplexity.AT_ONCE", 4 * lanes)
    found = read_through(model, part, lanes)
    assert found.tokens == 30
    tokens, start, nats = part["token"].long(), 0, 0.0
    for lane in range(lanes):
        end = start + 30 // lanes + (lane < 30 % lanes)
        nats -= model.log_prob(tokens[None, start : end + 1]).item()
        start = end
    assert found.nats == pytest.approx(nats, rel=1e-12)
    assert Reading(nats, 30).perplexity == pytest.approx(math.exp(nats / 30))
    assert math.isnan(Reading(math.nan, 30).perplexity)
    assert Reading(1e9, 30).perplexity == math.inf


def trained(task, rounds=5, **given):
    stream = Lanes(part_of(), 4, 5)
    return Trainer(task, OptimizerSettings(lr=0.01), stream, rounds, runtime=Runtime(precision="float64"), **given)


def test_scores_are_of_the_whole_part_in_order_and_leave_the_state_alone():
    trainer = trained(Language(model_of(), 4))
    trainer.run_round()
    before, held_out = trainer.task.state.clone(), part_of(40)
    scores = evaluate(trainer, held_out)
    assert scores["cross_entropy"] == pytest.approx(
        -trainer.task.model.log_prob(held_out["token"][None].long()).item() / 39
    )
    assert scores["perplexity"] == pytest.approx(math.exp(scores["cross_entropy"]))
    assert before.equal(trainer.task.state)
    assert before.any()
    assert evaluate(trainer, part_of(1)) == {}


def test_a_micro_batch_may_have_no_target_that_counts():
    """As one of several, or one process among others, it adds nothing."""
    task, batch = Language(model_of(), 2), Lanes(part_of(25), 2, 6).batch(0, slice(0, 2))
    batch.fields["valid"] = torch.zeros(2, 6, dtype=torch.bool)
    task.fit(batch)["cross_entropy"].sum().backward()
    assert not any(p.grad.any() for p in task.parameters() if p.grad is not None)


def test_how_common_words_are_is_counted_of_targets_that_count():
    task, targets = NoiseContrastive(model_of(), 1), torch.tensor([[0, 0, 3]])
    fields = {"target": targets, "valid": torch.tensor([[True, False, True]])}
    task.count(Batch(fields, slice(0, 1), 1, torch.arange(1)))
    assert task.counts.tolist() == [2, 1, 1, 2, 1, 1]


@pytest.mark.unchecked
@pytest.mark.parametrize("kind", ["lstm", "peephole"])
def test_what_is_compiled_does_not_grow_with_the_steps(kind, monkeypatch):
    """torch unrolls recurrent layers: 16 steps took it minutes, and each other number of steps as long again."""
    for name in ("_run", "_is_eager"):
        monkeypatch.setattr(Recurrent, name, getattr(Recurrent, name))  # and back in the end
    task, sizes = Language(model_of(kind), 2), []
    Trainer(task, OptimizerSettings(), Lanes(part_of(), 2, 5), 1, runtime=Runtime(precision="float64", compile=True))

    def graph(module, given):
        sizes.append(sum(node.op.startswith("call") for node in module.graph.nodes))
        if "lstm" in module.code:
            sizes.append(math.inf)
        return module.forward

    task.language.compile(backend=graph)
    found = {steps: task.language(part_of()["token"][None, :steps].long())[0] for steps in (2, 20)}
    assert sizes
    assert max(sizes) < 5
    torch.testing.assert_close(found[20], model_of(kind)(part_of()["token"][None, :20].long())[0])
    torch.testing.assert_close(found[2], found[20][:, :2])


def test_turns_of_an_adaptive_softmax_are_not_recorded():
    """It asks how many words are in each cluster, which a recording cannot."""
    assert Language(model_of(), 2).replayable
    assert not Language(model_of(cutoffs=(2,)), 2).replayable


def entered(task):
    task.enter(Place(0, 0, 0, slice(0, 2), 2, torch.device("cpu"), torch.float64))
    return task


@pytest.mark.parametrize("objective", ["nce", "sampled"])
@pytest.mark.parametrize("distribution", ["unigram", "uniform"])
def test_noise_is_one_for_the_whole_batch(objective, distribution):
    """Rows alone have the terms that they have in the batch."""
    batch = Lanes(part_of(25), 2, 6).batch(0, slice(0, 2))
    terms = []
    for rows in (slice(0, 2), slice(0, 1), slice(1, 2)):
        task = NoiseContrastive(model_of(), 2, Noise(9, distribution), objective)
        task.count(batch)
        fields = {name: values[rows] for name, values in batch.fields.items()}
        terms.append(entered(task).fit(Batch(fields, rows, 2, batch.numbers[rows]))[objective])
    torch.testing.assert_close(terms[0], torch.cat(terms[1:]))


def test_noise_is_as_common_as_the_words_that_were_read():
    task = NoiseContrastive(model_of(), 2, Noise(200_000))
    targets = torch.tensor([[0, 0, 0, 1], [5, 0, 5, 0]])
    task.count(Batch({"target": targets}, slice(0, 2), 2, torch.arange(2)))
    q = torch.tensor([6, 2, 1, 1, 1, 3]).double() / 14
    torch.testing.assert_close(task.log_q().exp().double(), q)
    entered(task)
    fraction = task.draw(task.log_q()).bincount(minlength=V) / 200_000
    assert (fraction - q).abs().max() < 5 * math.sqrt(0.25 / 200_000)


@pytest.mark.unchecked
@pytest.mark.parametrize("changes", [{"noise": Noise(0)}, {"objective": "sampled", "noise": Noise(log_z=1.0)}])
def test_noise_that_cannot_be_is_refused(changes):
    with pytest.raises(ValueError, match=r"at least 1|leave log_z"):
        NoiseContrastive(model_of(), 2, **changes)
    with pytest.raises(ValueError, match="adaptive"):
        NoiseContrastive(model_of(cutoffs=(2,)), 2)


def test_noise_contrastive_estimation_learns_a_distribution_and_its_normalizer():
    """Tokens drawn from one distribution: perplexity near its entropy's, log Z near 0, though nothing normalizes."""
    p = torch.tensor([0.4, 0.3, 0.1, 0.1, 0.05, 0.05], dtype=torch.float64)
    tokens = torch.multinomial(p, 4001, True, generator=torch.Generator().manual_seed(0))
    task = NoiseContrastive(model_of("rnn", layers=1), 20, Noise(30))
    stream = Lanes(Part({"token": tokens}), 20, 10)
    trainer = Trainer(
        task, OptimizerSettings(lr=0.02, schedule="linear"), stream, 200, runtime=Runtime(precision="float64")
    )
    for _ in trainer:
        pass
    entropy = -(p * p.log()).sum().item()
    assert evaluate(trainer, Part({"token": tokens}))["cross_entropy"] == pytest.approx(entropy, abs=0.03)
    features, _ = task.language(tokens[None, :200])
    assert task.language.logits(features).logsumexp(2).abs().mean() < 0.15
