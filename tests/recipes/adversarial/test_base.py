"""The recipes of generators and critics: what they build, and what does not go together, in one line each."""

import re
from pathlib import Path

import pytest
import torch

from danlu.app.cli.main import main
from danlu.catalogue import RECIPES, find_recipe
from danlu.data import TrainingData
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.losses import Loss
from danlu.models import DCGANCritic, DCGANGenerator, MLPCritic, MLPGenerator, ResNetCritic, ResNetGenerator
from danlu.nn import VirtualBatchNorm
from danlu.recipes import AdversarialRecipe, changed
from danlu.tasks import Techniques
from danlu.training import Runtime
from danlu.training.validation import evaluation_mode
from examined import play, tiny, trainer_of, without_dropout
from rank_jobs import play_without_dropout

PICTURES = ImageInfo((1, 8, 8), 10)
POINTS = TableInfo((2,), 8)
NAMES = ("gan", "cgan", "dcgan", "wgan", "wgan-gp", "sngan")
CONVOLUTIONAL = ("dcgan", "wgan", "wgan-gp", "sngan")
VIRTUAL = {"critic.norm": "virtual", "critic.reference": 8, "generator.norm": "virtual", "generator.reference": 8}
DOUBLE = Runtime(precision="float64")


def recipe_of(name, **changes):
    return changed(find_recipe(name)(), changes)


def test_these_are_all():
    ours = {name for name in RECIPES if issubclass(find_recipe(name), AdversarialRecipe)}
    assert ours == set(NAMES)


@pytest.mark.parametrize(
    ("name", "players", "loss", "how", "optimizer", "lr", "betas", "batch_size"),
    [
        ("gan", (MLPGenerator, MLPCritic), "non-saturating", {}, "adam", 2e-4, (0.5, 0.999), 128),
        ("cgan", (MLPGenerator, MLPCritic), "non-saturating", {}, "adam", 2e-4, (0.5, 0.999), 128),
        ("dcgan", (DCGANGenerator, DCGANCritic), "non-saturating", {}, "adam", 2e-4, (0.5, 0.999), 128),
        (
            "wgan",
            (DCGANGenerator, DCGANCritic),
            "wasserstein",
            {"critic_turns": 5, "weight_clip": 0.01},
            "rmsprop",
            5e-5,
            None,
            64,
        ),
        (
            "wgan-gp",
            (DCGANGenerator, DCGANCritic),
            "wasserstein",
            {"critic_turns": 5, "penalty": 10.0},
            "adam",
            1e-4,
            (0.0, 0.9),
            64,
        ),
        ("sngan", (ResNetGenerator, ResNetCritic), "hinge", {"critic_turns": 5}, "adam", 2e-4, (0.0, 0.9), 64),
    ],
)
def test_the_papers_settings(name, players, loss, how, optimizer, lr, betas, batch_size):
    recipe = find_recipe(name)()
    task = recipe.task(PICTURES)
    assert (type(task.generator), type(task.critic)) == players
    assert (task.loss, task.techniques) == (loss, Techniques(**how))
    assert (task.generator.classes, task.critic.classes) == ((10, 10) if name == "cgan" else (0, 0))
    for descent in recipe.optimizer_settings().values():
        assert (descent.optimizer, descent.lr, descent.betas) == (optimizer, lr, betas)
        assert not descent.momentum
    assert recipe.batch_size == batch_size
    batch_normed = any(isinstance(module, torch.nn.BatchNorm2d) for module in task.critic.modules())
    assert batch_normed == (name in ("dcgan", "wgan"))
    assert task.has_spectral_norm == (name == "sngan")


def test_settings_reach_the_game():
    given = {
        "critic_turns": 2,
        "real_target": 0.9,
        "penalty": 3.0,
        "one_sided": True,
        "r1": 0.5,
        "feature_matching": "add",
        "history": 0.1,
        "instance_noise": 0.2,
        "noise_rounds": 50,
    }
    assert recipe_of("gan", **given).task(PICTURES).techniques == Techniques(**given)
    assert set(Techniques._fields) <= AdversarialRecipe.model_fields.keys()
    for name in Techniques._fields:
        assert AdversarialRecipe.model_fields[name].default == getattr(Techniques(), name)


def test_the_critic_has_a_rate_of_its_own_and_only_the_generator_an_average():
    for given, critic in ((None, 0.01), (0.04, 0.04)):
        optimizer_settings = recipe_of("dcgan", lr=0.01, critic_lr=given, ema=0.9).optimizer_settings()
        assert (optimizer_settings["generator"].lr, optimizer_settings["critic"].lr) == (0.01, critic)
        assert (optimizer_settings["generator"].ema, optimizer_settings["critic"].ema) == (0.9, None)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("conditional", [False, True])
def test_what_is_no_picture_has_fully_connected_players(name, conditional):
    task = recipe_of(name, points={"hidden": (7, 5)}, conditional=conditional).task(POINTS)
    assert (type(task.generator), type(task.critic)) == (MLPGenerator, MLPCritic)
    assert [layer.linear.out_features for layer in task.generator.body] == [7, 5]
    assert [layer.linear.out_features for layer in task.critic.body] == [7, 5]
    assert task.generator.latent == find_recipe(name)().points.latent
    assert task.generator.classes == (8 if conditional else 0)
    assert task.has_spectral_norm == (name == "sngan")
    assert task.generator.range is None


def test_minibatch_discrimination_is_kept_for_points():
    assert recipe_of("dcgan", **{"critic.minibatch": 5}).task(POINTS).critic.minibatch.kernels == 5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", ["ring", "moons"])
def test_points_are_learned_as_well(name, data):
    state = play(trainer_of(tiny(name, data=data, rounds=3)))
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("side", [4, 8, 13, 32, 130])
def test_pictures_of_all_sizes(side):
    for name in CONVOLUTIONAL:
        task = recipe_of(name, **{"generator.width": 2, "critic.width": 2}).task(ImageInfo((3, side, side), 0))
        made = task.generator(task.generator.prior(2))
        assert made.shape == (2, 3, side, side)
        assert task.critic(made).shape == (2,)


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="too many for 3×3 pixels"):
        recipe_of("dcgan").task(ImageInfo((1, 3, 3), 0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("info", [PICTURES, POINTS], ids=["pictures", "points"])
def test_labels_are_asked_for_only_where_there_are_some(name, info):
    recipe_of(name, conditional=True).task(info)
    for classes in (0, 1):
        bare = type(info)(info.shape, classes)
        recipe_of(name, conditional=False).task(bare)
        with pytest.raises(UsageError, match=f"labels of at least two classes, digits has {classes}; set"):
            recipe_of(name, conditional=True).task(bare)


@pytest.mark.parametrize("loss", ["minimax", "non-saturating", "least-squares", "hinge"])
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_takes_every_loss(name, loss: Loss):
    assert recipe_of(name, loss=loss).task(PICTURES).loss == loss


@pytest.mark.parametrize("name", NAMES)
def test_half_precision(name):
    """Interpolates of half-precision examples and whole ones, second derivatives and all."""
    state = play(trainer_of(tiny(name, rounds=2), Runtime(precision="bf16")))
    assert all(value.isfinite().all() for value in state.values())


# refusals

PAGE = Path(__file__).parents[3] / "docs" / "models" / "gan-techniques.md"
ON_THE_PAGE = [
    (f"gan {words}", line) for words, line in re.findall(r"^\| `(--.+?)` \| (.+) \|$", PAGE.read_text(), re.M)
]


def test_the_page_has_examples():
    assert len(ON_THE_PAGE) >= 9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *ON_THE_PAGE,
        ("gan --loss wasserstein", "loss wasserstein is unbounded without a constraint of the critic"),
        ("wgan --weight-clip None", "loss wasserstein is unbounded without a constraint of the critic"),
        ("wgan-gp --weight-clip 0.1", "weight_clip and penalty constrain the gradient of the critic in different ways"),
        ("sngan --penalty 1", "penalty and critic.spectral constrain the gradient of the critic"),
        ("wgan --critic.spectral", "weight_clip and critic.spectral constrain the gradient of the critic"),
        ("wgan-gp --critic.minibatch 8", "which minibatch discrimination violates"),
        ("wgan-gp --real-target 0.9", "got loss wasserstein"),
        ("sngan --r1 1 --shard", "r1 needs second derivatives, which sharded networks do not support"),
        ("gan --critic.minibatch 4 --batch-size 1", "batch_size=1 with grad_accumulation=1 gives less"),
        ("dcgan --generator.norm virtual --batch-size 16", "generator.reference=64 must be at most batch_size=16"),
        ("gan --real-target 1.5", "real_target: expected a number >= 0 and <= 1, got 1.5"),
        ("gan --critic-turns 0", "critic_turns: expected an integer >= 1, got 0"),
        ("gan --penalty -1", "penalty: expected a number >= 0, got -1"),
        ("gan --weight-clip 0", "weight_clip: expected a number > 0 or null, got 0"),
    ],
)
def test_what_does_not_go_together_is_said_before_data_is_loaded(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TrainingData, "load", None)
    error = refused(words, capsys)
    assert said in error
    assert (words, said) not in ON_THE_PAGE or error == f"danlu: {said}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "dcgan --penalty 10",
            "penalty needs a critic whose score of an example does not depend on other",
        ),
        ("wgan-gp --critic.norm batch", "which batch norm violates; set critic.norm to layer"),
        (
            "dcgan --r1 1",
            "r1 needs a critic whose score of an example does not depend on other examples",
        ),
        ("wgan-gp --generator.attention 5", "danlu: generator.attention=5 must be the shorter side of a feature map"),
        (
            "sngan --generator.attention 4 --critic.attention 8",
            "danlu: critic.attention=8 must be the shorter side",
        ),
        ("dcgan --critic.levels 9", "danlu: critic: 9 convolutions with stride 2 are too many for 8×8 pixels"),
        ("gan --critic.hidden", "leaves no features"),
    ],
)
def test_what_the_data_decides_is_said_in_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(words, capsys)
    assert not list(tmp_path.iterdir())


def refused(words, capsys):
    """The one line with which a command ends."""
    with pytest.raises(SystemExit) as ended:
        main(["train", *words.split(), "--dry-run"])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("danlu: ")
    assert error.count("\n") == 1
    return error


# several processes

GAMES = {
    "penalty": ("wgan-gp", {"generator.norm": "layer"}),
    "one-sided penalty with labels": (
        "wgan-gp",
        {"conditional": True, "one_sided": True, "critic.norm": "layer", **{k: VIRTUAL[k] for k in list(VIRTUAL)[2:]}},
    ),
    "r1, virtual norm, history and noise": ("dcgan", {**VIRTUAL, "r1": 0.5, "history": 0.1, "instance_noise": 0.1}),
    "spectral norm": ("sngan", {"generator.norm": None, "conditional": True}),
    "clipping": ("wgan", {"critic.norm": "layer", "generator.norm": None}),
}


@pytest.mark.xdist_group("two ranks")
@pytest.mark.parametrize("game", GAMES)
def test_two_ranks_equal_one(game, two_ranks):
    """In float64 to 1e-10: whatever is no matter of the whole batch, second derivatives as well."""
    name, changes = GAMES[game]
    (first, coupled), (second, _) = two_ranks.run(play_without_dropout, name, changes)
    assert coupled is None
    same(first, play(without_dropout(trainer_of(tiny(name, **changes), DOUBLE))), 1e-10)
    same(first, second, 0)


@pytest.mark.parametrize("game", GAMES)
def test_micro_batches_make_no_difference(game):
    name, changes = GAMES[game]
    ends = [without_dropout(trainer_of(tiny(name, **changes, grad_accumulation=k), DOUBLE)) for k in (1, 2)]
    same(*(play(end) for end in ends), 1e-10)


@pytest.mark.xdist_group("two ranks")
@pytest.mark.parametrize(
    ("name", "changes"), [("gan", {}), ("cgan", {}), ("dcgan", VIRTUAL), ("sngan", {"generator.norm": None})]
)
def test_players_can_be_split_where_nobody_asks_for_slopes(name, changes, two_ranks):
    (first, _), (second, _) = two_ranks.run(play_without_dropout, name, {**changes, "shard": True})
    same(first, play(without_dropout(trainer_of(tiny(name, **changes), DOUBLE))), 1e-10)
    same(first, second, 0)


def same(a, b, tolerance):
    assert a.keys() == b.keys()
    for key, value in a.items():
        torch.testing.assert_close(b[key], value, rtol=tolerance, atol=tolerance, msg=lambda m, key=key: f"{key}: {m}")


# resuming


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
def test_the_reference_is_saved_with_the_model(name):
    """Virtual batch norm goes by the same examples in the average, which is what is saved."""
    trainer = trainer_of(tiny(name, **{k: VIRTUAL[k] for k in list(VIRTUAL)[2:]}, ema=0.9))
    play(trainer)
    generator = trainer.task.generator
    assert any(isinstance(module, VirtualBatchNorm) for module in generator.modules())
    assert generator.reference.any()
    reference = generator.reference.clone()
    with evaluation_mode(trainer):
        assert torch.equal(generator.state_dict()["reference"], reference)
