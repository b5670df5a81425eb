"""A model folder that was copied elsewhere is enough for every verb, and gives what the run gives."""

import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import danlu
from danlu.data import digits
from danlu.verbs import verbs_of

pytestmark = pytest.mark.usefixtures("few_examples")

TINY = {"quiet": True, "epochs": 1}
LATENT = {"hidden": (8,), "latent": 2}
RECIPES = {
    "mlp": {"model": {"hidden": (8,)}},
    "vae": {"model": LATENT, "binarize": "dynamic"},
    "conditional-vae": {"model": {**LATENT, "likelihood": "bernoulli"}},
    "gan": {"data": "ring", "eval_samples": 0},
    "lstm-lm": {"model": {"width": 8, "embedding": 4}, "rounds": 2},
}
COMMANDS = {
    "classify": lambda run, files, out: danlu.classify(run, files[0], top=2),
    "sample": lambda run, files, out: danlu.sample(run, 4, out=out / "sample.npy", overwrite=True).x,
    "reconstruct": lambda run, files, out: danlu.reconstruct(run, *files, out=out / "r.npy", overwrite=True).x,
    "interpolate": lambda run, files, out: danlu.interpolate(run, *files, out=out / "i.npy", overwrite=True).x,
    "inpaint": lambda run, files, out: danlu.inpaint(run, *files, mask="half", out=out / "p.npy", overwrite=True).x,
    "prior": lambda run, files, out: danlu.arithmetic(run, "0 - 1", label=label_of(run), out=out / "a.npy",
                                                      overwrite=True).x,
    "complete": lambda run, files, out: danlu.complete(run, "the", tokens=5),
    "log_prob_bound": lambda run, files, out: danlu.score(run, *files, samples=2),
    "log_prob": lambda run, files, out: danlu.score(run, out / "text.txt"),
}  # fmt: skip
PYTHON_ONLY = {"encode", "decode"}


def label_of(run):
    return 0 if "class_conditional" in danlu.load(run).capabilities else None


def is_same(a, b):
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.fixture
def files(tmp_path):
    images = digits().test["image"][:2]
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(path)
    (tmp_path / "text.txt").write_text("the other text\n")
    return paths


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_verb_of_a_copied_model_folder_gives_what_the_run_gives(recipe, files, tmp_path):
    settings = {**TINY, **RECIPES[recipe]}
    if "rounds" in settings:
        del settings["epochs"]
    run = danlu.train(recipe, out=tmp_path / "run", **settings)
    alone = shutil.copytree(run.model, tmp_path / "elsewhere" / "copied")
    verbs = set(verbs_of(danlu.load(alone))) - PYTHON_ONLY
    assert verbs
    assert verbs <= COMMANDS.keys(), "a verb that has no command here"
    expected = {verb: COMMANDS[verb](run.path, files, tmp_path) for verb in verbs}
    shutil.rmtree(run.path)
    for verb, value in expected.items():
        assert is_same(COMMANDS[verb](alone, files, tmp_path), value), verb
    danlu.export(alone, tmp_path / "weights.safetensors")
    assert load_file(tmp_path / "weights.safetensors")


def test_a_copied_model_folder_knows_that_images_are_binarized(files, tmp_path):
    run = danlu.train("vae", out=tmp_path / "run", **TINY, **RECIPES["vae"])
    alone = shutil.copytree(run.model, tmp_path / "copied")
    shutil.rmtree(run.path)
    assert danlu.load(alone).usage == {"binarize": "dynamic"}
    usual = danlu.score(alone, files[0], samples=2)
    assert usual == danlu.score(alone, files[0], samples=2, binarize="static")
    assert usual != danlu.score(alone, files[0], samples=2, binarize="none")
