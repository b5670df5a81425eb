"""The game of generator and critic: its terms by hand, its turns, and the laws of the loop for it."""

import math
from typing import get_args

import pytest
import torch

from danlu.data import Part, Shuffled, in_order
from danlu.errors import UsageError
from danlu.losses import Loss
from danlu.losses.adversarial import TARGETED
from danlu.models import MLPCritic, MLPGenerator
from danlu.tasks import Adversarial, Descend, Place, Techniques
from danlu.training import OptimizerSettings, Runtime, Trainer
from examined import go_on, play

DOUBLE = Runtime(precision="float64")
LOSSES: tuple[Loss, ...] = get_args(Loss)
N, LATENT, SHAPE = 6, 3, (1, 2, 2)


def pictures(n=N, shape=SHAPE, classes=3):
    random = torch.Generator().manual_seed(1)
    x = torch.rand(n, *shape, generator=random, dtype=torch.float64)
    return Part({"image": x, "label": torch.randint(classes, (n,), generator=random)})


def batch_of(n=N):
    return next(in_order(pictures(n), n))


def game(loss="non-saturating", classes=0, critic=None, generator=None, **techniques):
    """Small players for small pictures in [0, 1]; smooth ones, so that derivatives can be compared with differences."""
    torch.manual_seed(0)
    smooth = {"hidden": (5,), "activation": "tanh"}
    players = (
        MLPGenerator(SHAPE, classes, (0.0, 1.0), latent=LATENT, **{**smooth, **(generator or {})}),
        MLPCritic(SHAPE, classes, **{**smooth, **(critic or {})}),
    )
    return Adversarial(*players, loss, Techniques(**techniques)).double()


def entered(task, round=0, n=N):
    task.enter(Place(0, round, 0, slice(0, n), n, torch.device("cpu"), torch.float64))
    return task


def seen(batch):
    """The pictures in the space in which players meet, from -1 to 1."""
    return 2 * batch["image"] - 1


def one_by_one(player, x, labels=None):
    """What a player says of each example alone."""
    rows = range(len(x))
    return torch.cat([player(x[i : i + 1], None if labels is None else labels[i : i + 1]) for i in rows])


def slopes_by_hand(critic, x, labels=None):
    """The length of the gradient of each example's score, by differences."""
    step, found = 1e-6, []
    for i in range(len(x)):
        label = None if labels is None else labels[i : i + 1]
        parts = []
        for d in range(x[0].numel()):
            move = torch.zeros_like(x[i]).flatten()
            move[d] = step
            move = move.view_as(x[i])
            parts.append((critic((x[i] + move)[None], label) - critic((x[i] - move)[None], label)) / (2 * step))
        found.append(torch.cat(parts).square().sum().sqrt())
    return torch.stack(found)


# terms


def costs(loss, s, real=1.0, fake=0.0):
    """What real and generated examples cost the critic, and the latter the generator, from the papers."""
    d = 1 / (1 + math.exp(-s))
    told = -real * math.log(d) - (1 - real) * math.log(1 - d), -fake * math.log(d) - (1 - fake) * math.log(1 - d)
    return {
        "minimax": (*told, math.log(1 - d)),
        "non-saturating": (*told, -math.log(d)),
        "least-squares": ((s - real) ** 2 / 2, (s - fake) ** 2 / 2, (s - 1) ** 2 / 2),
        "hinge": (max(0.0, 1 - s), max(0.0, 1 + s), -s),
        "wasserstein": (-s, s, -s),
    }[loss]


def written(loss, scores, which, **targets):
    return torch.tensor([costs(loss, float(s), **targets)[which] for s in scores.detach()], dtype=torch.float64)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_critic_pays_for_both_kinds_and_the_generator_for_its_own(loss, classes):
    """One example at a time: labels reach both players, pictures come from [0, 1] to [-1, 1]."""
    task, batch = game(loss, classes, r1=0.1 if loss == "wasserstein" else 0.0), batch_of()
    labels = batch["label"] if classes else None
    terms = entered(task).critic_terms(batch, 0)
    z = entered(task).noise((LATENT,))
    fake = one_by_one(task.generator, z, labels)
    torch.testing.assert_close(terms["real"], written(loss, one_by_one(task.critic, seen(batch), labels), 0))
    torch.testing.assert_close(terms["fake"], written(loss, one_by_one(task.critic, fake, labels), 1))
    terms = entered(task).generator_terms(batch, 0)
    assert terms.keys() == {"fool"}
    torch.testing.assert_close(terms["fool"], written(loss, one_by_one(task.critic, fake, labels), 2))


def test_labels_are_those_of_the_batch():
    """Other labels give other codes' examples and other scores, in both turns."""
    task, batch = game(classes=3), batch_of()
    batch.fields["label"] = (batch["label"] + 1) % 3
    for turn in ("critic_terms", "generator_terms"):
        other = getattr(entered(task), turn)(batch, 0)
        same = getattr(entered(task), turn)(batch_of(), 0)
        assert all((other[name] != same[name]).all() for name in other)


@pytest.mark.parametrize("loss", TARGETED)
def test_targets_are_moved_for_the_critic_alone(loss):
    task, batch = game(loss, real_target=0.9, fake_target=0.2), batch_of()
    terms = entered(task).critic_terms(batch, 0)
    fake = task.generator(entered(task).noise((LATENT,)))
    targets = {"real": 0.9, "fake": 0.2}
    torch.testing.assert_close(terms["real"], written(loss, task.critic(seen(batch)), 0, **targets))
    torch.testing.assert_close(terms["fake"], written(loss, task.critic(fake), 1, **targets))
    torch.testing.assert_close(entered(task).generator_terms(batch, 0)["fool"], written(loss, task.critic(fake), 2))


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("classes", [0, 3])
def test_the_penalty_is_of_slopes_between_pairs(classes, one_sided):
    task, batch = game("wasserstein", classes, penalty=7.0, one_sided=one_sided), batch_of()
    labels = batch["label"] if classes else None
    z, fraction = entered(task).noise((LATENT,)), task.noise((1, 1, 1), uniform=True)
    fake, real = task.generator(z, labels), seen(batch)
    between = torch.stack([u * real[i] + (1 - u) * fake[i] for i, u in enumerate(fraction.flatten())]).detach()
    with torch.no_grad():  # too steep for some, too flat for others
        task.critic.last.weight.div_(slopes_by_hand(task.critic, between, labels).mean())
    found = entered(task).critic_terms(batch, 0)["penalty"]
    over = slopes_by_hand(task.critic, between, labels) - 1
    assert over.min() < 0 < over.max()
    expected = torch.stack([7 * o**2 if o > 0 or not one_sided else 0 * o for o in over])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("classes", [0, 3])
def test_r1_is_half_the_square_of_slopes_at_real_examples(classes):
    task, batch = game(classes=classes, r1=0.6), batch_of()
    labels = batch["label"] if classes else None
    expected = 0.3 * slopes_by_hand(task.critic, seen(batch), labels) ** 2
    torch.testing.assert_close(entered(task).critic_terms(batch, 0)["r1"], expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("how", ["replace", "add"])
def test_feature_matching_is_the_distance_of_mean_features(how):
    task, batch = game(feature_matching=how), batch_of()
    terms = entered(task).generator_terms(batch, 0)
    fake = task.generator(entered(task).noise((LATENT,)))
    mean = lambda x: sum(task.critic.features(x[i : i + 1])[0] for i in range(N)) / N  # noqa: E731
    expected = sum((a - b) ** 2 for a, b in zip(mean(seen(batch)), mean(fake), strict=True))
    torch.testing.assert_close(terms["features"], expected.expand(N))
    assert terms.keys() == ({"features"} if how == "replace" else {"fool", "features"})
    if how == "add":
        torch.testing.assert_close(terms["fool"], written("non-saturating", task.critic(fake), 2))
    assert entered(task).critic_terms(batch, 0).keys() == {"real", "fake"}


@pytest.mark.parametrize(("round", "left"), [(0, 0.5), (1, 0.375), (3, 0.125), (4, 0.0), (9, 0.0)])
def test_noise_on_what_the_critic_sees_falls(round, left):
    task, batch = game(instance_noise=0.5, noise_rounds=4, feature_matching="add"), batch_of()
    terms = entered(task, round).critic_terms(batch, round)
    entered(task, round)
    real = seen(batch) + (left * task.noise(SHAPE) if left else 0)
    fake = task.generator(task.noise((LATENT,)))
    fake = fake + (left * task.noise(SHAPE) if left else 0)
    torch.testing.assert_close(terms["real"], written("non-saturating", task.critic(real), 0))
    torch.testing.assert_close(terms["fake"], written("non-saturating", task.critic(fake), 1))
    terms = entered(task, round).generator_terms(batch, round)
    entered(task, round)
    fake = task.generator(task.noise((LATENT,)))
    fake = fake + (left * task.noise(SHAPE) if left else 0)
    real = seen(batch) + (left * task.noise(SHAPE) if left else 0)
    torch.testing.assert_close(terms["fool"], written("non-saturating", task.critic(fake), 2))
    apart = task.critic.features(fake).mean(0) - task.critic.features(real).mean(0)
    torch.testing.assert_close(terms["features"], (apart**2).sum().expand(N))


def test_noise_without_an_end_stays():
    assert [Techniques(instance_noise=0.5).noise_at(round) for round in (0, 10**6)] == [0.5, 0.5]


def trainer_for(task, rounds=4, size=8, part=None, **descent):
    how = OptimizerSettings(**{"optimizer": "sgd", "lr": 0.05, **descent})
    return Trainer(task, how, Shuffled(part or pictures(24), size), rounds, runtime=DOUBLE)


def flat(player):
    return torch.cat([p.detach().clone().flatten() for p in player.parameters()])


def test_historical_averaging_pulls_towards_the_mean_of_all_weights_so_far():
    """Over several rounds with two turns of the critic in each, from weights that are noted beside the game."""
    task = game(history=0.3, critic_turns=2)
    trainer = trainer_for(task, rounds=5)
    noted = {name: [flat(player)] for name, player in task.players().items()}
    for name, player in trainer.players.items():
        real = player.step

        def step(lr, skip=None, name=name, player=player, real=real):
            real(lr)
            noted[name].append(flat(player.module))

        player.step = step
    for report in trainer:
        assert len(noted["critic"]) == 1 + 2 * report.round
        assert len(noted["generator"]) == 1 + report.round
        trainer.active_player.release()
        for name, weights in noted.items():
            mean = sum(weights) / len(weights)
            term = getattr(entered(task), {"critic": "critic_terms", "generator": "generator_terms"}[name])(
                batch_of(), 0
            )["history"]
            torch.testing.assert_close(term, (0.3 * ((weights[-1] - mean) ** 2).sum()).expand(N))
            pull = torch.autograd.grad(term.mean(), list(task.players()[name].parameters()))
            torch.testing.assert_close(torch.cat([p.flatten() for p in pull]), 0.6 * (weights[-1] - mean))


def test_all_terms_are_on_at_once():
    task = game(
        real_target=0.9, penalty=1.0, r1=1.0, feature_matching="add", history=1.0, instance_noise=0.1, critic_turns=2
    )
    assert list(entered(task).critic_terms(batch_of(), 0)) == ["real", "fake", "penalty", "r1", "history"]
    assert list(entered(task).generator_terms(batch_of(), 0)) == ["fool", "features", "history"]


@pytest.mark.parametrize("norm", [None, "layer", "virtual"])
@pytest.mark.parametrize("term", ["penalty", "r1"])
def test_the_gradient_of_a_penalty_equals_differences(term, norm):
    """With respect to each of the critic's weights, through the interpolates and the slopes."""
    task, batch = game("wasserstein", critic={"norm": norm, "reference": 2}, **{term: 1.0}), batch_of()
    if norm == "virtual":
        entered(task).choose_reference(batch)
    value = lambda: entered(task).critic_terms(batch, 0)[term].mean()  # noqa: E731
    weights = list(task.critic.parameters())
    gradients = torch.autograd.grad(value(), weights, materialize_grads=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        for place in range(weight.numel()):
            ends = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    weight.view(-1)[place] += step
                ends.append(value().detach())
                with torch.no_grad():
                    weight.view(-1)[place] -= step
            torch.testing.assert_close(gradient.flatten()[place], (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_real_and_generated_examples_are_separate_batches(norm):
    """With batch norm a score depends on its batch, and that is of one kind."""
    task, batch = game(critic={"norm": norm}), batch_of()
    terms = entered(task).critic_terms(batch, 0)
    fake = task.generator(entered(task).noise((LATENT,)))
    torch.testing.assert_close(terms["real"], written("non-saturating", task.critic(seen(batch)), 0))
    torch.testing.assert_close(terms["fake"], written("non-saturating", task.critic(fake), 1))


@pytest.mark.parametrize("norm", [None, "layer", "virtual", "batch"])
def test_minibatch_discrimination_compares_examples_of_one_kind(norm):
    task, batch = game(critic={"minibatch": 4, "norm": norm, "reference": 2}), batch_of()
    if norm == "virtual":
        entered(task).choose_reference(batch)
    terms = entered(task).critic_terms(batch, 0)
    fake = task.generator(entered(task).noise((LATENT,)))
    torch.testing.assert_close(terms["real"], written("non-saturating", task.critic(seen(batch)), 0))
    torch.testing.assert_close(terms["fake"], written("non-saturating", task.critic(fake), 1))
    fool = entered(task).generator_terms(batch, 0)["fool"]
    torch.testing.assert_close(fool, written("non-saturating", task.critic(fake), 2))


def test_the_critics_turn_leaves_the_generator_alone():
    task = game("wasserstein", penalty=1.0, history=1.0)
    loss = sum(term.mean() for term in entered(task).critic_terms(batch_of(), 0).values())
    loss.backward()
    assert all(p.grad is None for p in task.generator.parameters())


def test_scores_are_the_critics_of_held_out_examples():
    task, batch = game(classes=3).eval(), batch_of()
    scores = entered(task, -1).scores(batch)
    fake = task.generator(entered(task, -1).noise((LATENT,)), batch["label"])
    torch.testing.assert_close(scores["score_on_real"], task.critic(seen(batch), batch["label"]))
    torch.testing.assert_close(scores["score_on_fake"], task.critic(fake, batch["label"]))
    assert entered(game(critic={"minibatch": 4}), -1).scores(batch_of(1)) == {}


# turns


def names(task, round):
    return [turn.player if isinstance(turn, Descend) else turn.apply.__name__ for turn in task.turns(round)]


@pytest.mark.parametrize(
    ("how", "first", "later"),
    [
        ({}, ["critic", "generator"], ["critic", "generator"]),
        ({"critic_turns": 3}, ["critic"] * 3 + ["generator"], ["critic"] * 3 + ["generator"]),
        (
            {"critic_turns": 2, "weight_clip": 0.1},
            ["critic", "constrain_critic", "critic", "constrain_critic", "generator"],
            ["critic", "constrain_critic", "critic", "constrain_critic", "generator"],
        ),
        (
            {"critic": {"spectral": True}},
            ["critic", "constrain_critic", "generator"],
            ["critic", "constrain_critic", "generator"],
        ),
        (
            {"critic": {"norm": "virtual", "reference": 2}},
            ["choose_reference", "critic", "generator"],
            ["critic", "generator"],
        ),
    ],
)
def test_the_turns(how, first, later):
    task = game(**how)
    assert names(task, 0) == first
    assert names(task, 1) == later
    assert [turn.fresh for turn in task.turns(1)] == [name == "critic" for name in later]


def test_weights_are_clipped_after_each_turn_of_the_critic():
    task = game("wasserstein", weight_clip=0.02, critic_turns=2)
    trainer = trainer_for(task, lr=1.0)
    largest = []
    trainer.players["generator"].step = lambda lr, skip=None: largest.append(flat(task.critic).abs().max().item())
    for _ in trainer:
        pass
    assert largest == [pytest.approx(0.02)] * 4
    assert flat(task.generator).abs().max() > 0.02


def test_spectral_norm_moves_once_with_each_turn_of_the_critic():
    task = game("hinge", critic={"spectral": True}, critic_turns=2)
    u = task.critic.last.parametrizations.weight[0].u
    first = task.critic.body[0].linear.parametrizations.weight
    before, weights = first[0].u.clone(), []
    trainer = trainer_for(task, rounds=1)
    real = trainer.players["critic"].step
    trainer.players["critic"].step = lambda lr, skip=None: (real(lr), weights.append(first.original.detach().clone()))
    trainer.run_round()
    for weight in weights:
        v = weight.T @ before
        before = weight @ (v / v.norm())
        before = before / before.norm()
    torch.testing.assert_close(first[0].u, before)
    assert u.abs().item() == pytest.approx(1.0)


def test_the_reference_is_chosen_once_and_kept(tmp_path):
    """From a batch of round 0 that no turn sees otherwise, labels and all; also where a run goes on."""
    virtual = {"norm": "virtual", "reference": 5}
    make = lambda: trainer_for(game(classes=3, critic=virtual, generator=virtual), part=pictures(24))  # noqa: E731
    trainer = make()
    task = trainer.task
    trainer.run_round()
    assert trainer.drawn == 2
    batch = trainer.stream.batch(0, slice(0, 8))
    torch.testing.assert_close(task.critic.reference, seen(batch)[:5])
    assert torch.equal(task.critic.reference_labels, batch["label"][:5])
    assert len(task.generator.reference.unique()) == 5 * LATENT
    kept = task.critic.reference.clone(), task.generator.reference.clone()
    later = go_on(trainer, make(), tmp_path)
    play(later)
    for players in (task, later.task):
        assert torch.equal(players.critic.reference, kept[0])
        assert torch.equal(players.generator.reference, kept[1])


@pytest.mark.unchecked
def test_a_reference_larger_than_the_batch_is_refused():
    task = game(critic={"norm": "virtual", "reference": 9})
    with pytest.raises(UsageError, match="reference=9 must be at most the batch size, 8"):
        trainer_for(task).run_round()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({}, None),
        ({"penalty": 1.0, "history": 1.0, "instance_noise": 0.1}, None),
        ({"critic": {"norm": "virtual", "reference": 2}}, None),
        ({"critic": {"norm": "layer", "spectral": True}}, None),
        ({"critic": {"norm": "batch"}}, "batch norm"),
        ({"generator": {"norm": "batch"}}, "batch norm"),
        ({"critic": {"minibatch": 4}}, "minibatch discrimination"),
        ({"feature_matching": "add"}, "feature matching"),
    ],
)
def test_micro_batches_make_no_difference_unless_the_game_says_why(how, why):
    """1×64 equals 4×16 to 1e-10, after some rounds of SGD; where the game is coupled it does not."""
    task = game(critic_turns=2, **how)
    assert task.coupled == why
    ends = []
    for grad_accumulation in (1, 4):
        stream = Shuffled(pictures(128), 64)
        trainer = Trainer(
            game(critic_turns=2, **how),
            OptimizerSettings(optimizer="sgd"),
            stream,
            3,
            grad_accumulation=grad_accumulation,
            runtime=DOUBLE,
        )
        ends.append(play(trainer))
    apart = max(float((a.double() - b.double()).abs().max()) for a, b in zip(*(e.values() for e in ends), strict=True))
    assert apart < 1e-10 if why is None else apart > 1e-9


# refusals and resuming


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"critic_turns": 0}, "critic_turns=0 must be at least 1"),
        ({"real_target": 1.1}, "real_target=1.1 must be from 0 to 1"),
        ({"fake_target": -0.1}, "fake_target=-0.1 must be from 0 to 1"),
        ({"real_target": 0.3, "fake_target": 0.3}, "fake_target=0.3 must be less than real_target=0.3"),
        ({"penalty": -1.0}, "penalty=-1.0 must be at least 0"),
        ({"r1": -1.0}, "r1=-1.0 must be at least 0"),
        ({"history": -1.0}, "history=-1.0 must be at least 0"),
        ({"instance_noise": -1.0}, "instance_noise=-1.0 must be at least 0"),
        ({"noise_rounds": -1}, "noise_rounds=-1 must be at least 0"),
        ({"weight_clip": 0.0}, "weight_clip=0.0 must be greater than 0"),
    ],
)
def test_numbers_out_of_range_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        game(**how)


@pytest.mark.parametrize(
    ("loss", "scores", "said"),
    [
        ("hinge", {"diversity": 0.2}, "Mode collapse: generated examples have 0.2 times the diversity of the data"),
        ("hinge", {"diversity": 1.0, "coverage": 0.5}, "Mode collapse: 50% of the modes of the data are not generated"),
        (
            "hinge",
            {"diversity": 0.2, "coverage": 0.5},
            "the diversity of the data and 50% of the modes of the data are not generated",
        ),
        ("minimax", {"score_on_fake": -9.0}, "Saturation: the mean score of generated examples is -9.0"),
        ("hinge", {"memorization": 0.1}, "nearest training example is 0.1 times that of new examples"),
        ("non-saturating", {"score_on_fake": -9.0}, None),  # whose gradient is still there
        ("minimax", {"diversity": 0.9, "coverage": 0.8, "memorization": 0.9, "score_on_fake": -1.0}, None),
        ("minimax", {}, None),
    ],
)
def test_what_is_wrong_is_said_in_words(loss, scores, said):
    found = game(loss).diagnose(scores)
    assert found is None if said is None else said in (found or "")


@pytest.mark.parametrize(
    ("how", "advice"),
    [
        ({}, "minibatch discrimination (critic.minibatch=16), another seed, or loss wasserstein"),
        ({"critic": {"minibatch": 2}}, "Try another seed, or loss wasserstein with a gradient penalty"),
        ({"loss": "wasserstein", "penalty": 10.0}, "Try another seed, a larger critic, or more critic_turns"),
        ({"r1": 1.0}, "Try another seed, a larger critic, or more critic_turns"),
    ],
)
def test_the_advice_against_mode_collapse_has_only_what_the_training_lacks_and_allows(how, advice):
    assert advice in (game(**how).diagnose({"diversity": 0.2}) or "")


def test_players_must_fit_each_other():
    generator = MLPGenerator((2,), 0, None, latent=2, hidden=(4,))
    for critic in (MLPCritic((3,), 0, hidden=(4,)), MLPCritic((2,), 3, hidden=(4,))):
        with pytest.raises(ValueError, match="generator and critic must have the same shape and classes"):
            Adversarial(generator, critic)


@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize(
    "how",
    [
        {"history": 0.1, "instance_noise": 0.5, "noise_rounds": 4, "critic_turns": 2},
        {"critic": {"spectral": True, "norm": "virtual", "reference": 4}, "generator": {"norm": "virtual"}},
        {"critic": {"norm": "batch", "dropout": 0.3}, "generator": {"norm": "batch"}, "feature_matching": "add"},
        {"loss": "wasserstein", "penalty": 1.0, "history": 0.1, "r1": 0.1},
    ],
    ids=["history and noise", "spectral and virtual norm", "batch norm and dropout", "slopes"],
)
def test_stopped_and_resumed_it_ends_bit_for_bit_the_same(how, stop, tmp_path):
    if "generator" in how:
        how["generator"].setdefault("reference", 4)
    make = lambda: trainer_for(game(**how), 6, optimizer="adam", ema=0.9)  # noqa: E731
    whole, first = play(make()), make()
    for report in first:
        if report.round == stop:
            break
    resumed = play(go_on(first, make(), tmp_path))
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key
