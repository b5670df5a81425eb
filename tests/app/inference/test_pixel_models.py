"""A model of pixels from the command line: samples with a temperature, completed images, exact likelihoods."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from commands import call_checked
from danlu.data import digits
from danlu.errors import UsageError
from danlu.models import MLPGenerator, save_model
from danlu.rng import generator, seeded

SETTINGS = {"rounds": 3, "sample_grids": 0, "quiet": True}
NETWORK = {"layers": 2, "channels": 8, "first_kernel": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "pixels"
    return danlu.train("gated-pixelcnn", conditional=True, model=NETWORK, out=out, **SETTINGS).path


def test_samples_have_the_temperature_and_the_class(run, tmp_path):
    path = tmp_path / "x.npy"
    call_checked("sample", run, "-n", 5, "--temperature", 0.5, "--label", 7, "-o", path)
    model = danlu.load(run)
    labels, source = torch.full((5,), 7), generator("sample", 0)
    assert torch.equal(torch.from_numpy(np.load(path)), model.sample(5, labels, generator=source, temperature=0.5))
    default = danlu.sample(run, 5, label=7, out=tmp_path / "y.npy").x
    assert torch.equal(default, model.sample(5, labels, generator=generator("sample", 0)))


@pytest.mark.parametrize("mask", ["half", "block", "random:0.3"])
def test_given_pixels_stay_and_others_are_levels_of_the_data(run, tmp_path, mask):
    image = (digits().test["image"][:1] * 255).round().byte()
    Image.fromarray(image[0, 0].numpy()).save(tmp_path / "x.png")
    filled = danlu.inpaint(run, tmp_path / "x.png", mask=mask, out=tmp_path / "y.npy").x
    again = danlu.inpaint(run, tmp_path / "x.png", mask=mask, out=tmp_path / "z.npy").x
    assert torch.equal(filled, again)
    kept = (filled - image / 255).abs() < 1e-6
    assert 0 < int((~kept).sum()) <= 40
    drawn = filled[~kept] * 16
    torch.testing.assert_close(drawn, drawn.round(), atol=1e-5, rtol=0)


@pytest.fixture
def image(tmp_path):
    pixels = (digits().test["image"][0, 0] * 255).round().byte()
    Image.fromarray(pixels.numpy()).save(tmp_path / "0.png")
    return tmp_path / "0.png"


def test_an_image_is_completed_with_a_class_and_a_temperature(run, image, tmp_path):
    """As by the method of the model with the same random numbers."""
    words = ("inpaint", run, image, "--mask", "half")
    call_checked(*words, "--label", 7, "--temperature", 0.02, "--seed", 3, "-o", tmp_path / "x.npy")
    x, known = torch.from_numpy(np.array(Image.open(image)) / 255).float()[None, None], torch.ones(1, 1, 8, 8)
    known[..., 4:, :] = 0
    model = danlu.load(run)
    with seeded("inpaint", 3):
        expected = model.inpaint(x * known, known, torch.tensor([7]), temperature=0.02)
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "x.npy")), expected, rtol=0, atol=1e-6)
    other = danlu.inpaint(run, image, mask="half", label=7, seed=3, out=tmp_path / "y.npy").x
    assert not torch.equal(other, expected)


def test_the_classes_of_images_in_turn(run, image, tmp_path):
    """A low temperature gives the most probable pixels of each class."""
    copies = tmp_path / "images"
    copies.mkdir()
    for number in range(11):
        (copies / f"{number:02}.png").write_bytes(image.read_bytes())
    options = {"mask": "half", "temperature": 1e-6}
    turns = danlu.inpaint(run, copies, label="all", out=tmp_path / "x.npy", **options).x
    each = [danlu.inpaint(run, image, label=k, out=tmp_path / f"{k}.npy", **options).x[0] for k in range(10)]
    assert torch.equal(turns, torch.stack([*each, each[0]]))
    assert not torch.equal(each[1], each[7])


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--temperature", 0), "temperature=0.0 must be a finite number greater than 0 (--temperature)"),
        (("--temperature", "nan"), "temperature=nan must be a finite number greater than 0"),
        (("--temperature", 1e-42), "is too small; the smallest allowed value is"),
        (("--label", "x"), "there is no class 'x'"),
        (("--label", 10), "a number from 0 to 9"),
    ],
)
@pytest.mark.parametrize("command", ["inpaint", "sample"])
def test_a_wrong_temperature_or_class_is_one_line_before_anything_is_written(run, tmp_path, command, words, hint):
    files = ("missing.png", "--mask", "half") if command == "inpaint" else ()
    _, err = call_checked(command, run, *files, *words, "-o", tmp_path / "x.png", code=2)
    assert err.startswith("danlu: ")
    assert hint in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_likelihood_is_exact(run):
    """Of all classes together, and given the label of each image."""
    scores = json.loads(call_checked("evaluate", run, "--json")[0])["scores"]
    model, test = danlu.load(run), digits().test
    with torch.no_grad():
        exact = {"": model.log_prob(test["image"]), "_given_label": model.log_prob(test["image"], test["label"])}
    for name, nats in exact.items():
        assert scores[f"log_prob{name}"] == pytest.approx(float(nats.double().mean()), rel=1e-5)
        bits = -float(nats.double().mean()) / (64 * math.log(2))
        assert scores[f"bits_per_dimension{name}"] == pytest.approx(bits, rel=1e-5)
    assert not any("dequantized" in name for name in scores)


def test_a_wrong_temperature_and_a_model_without_one(run, tmp_path):
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match=r"temperature=.* must be a finite number greater than 0"):
            danlu.sample(run, 2, temperature=wrong, out=tmp_path / "x.png")
    save_model(MLPGenerator((1, 8, 8), 0, (0.0, 1.0), hidden=(4,)), tmp_path / "gan", digits().info)
    with pytest.raises(UsageError, match="MLPGenerator has no temperature; remove temperature"):
        danlu.sample(tmp_path / "gan", 2, temperature=0.5, out=tmp_path / "x.png")
    _, err = call_checked("sample", run, "--temperature", 0, "-o", tmp_path / "x.png", code=2)
    assert err.startswith("danlu: ")
    assert "--temperature" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["pixelcnn", "gated-pixelcnn"])
def test_an_output_that_does_not_fit_is_one_line(name, tmp_path):
    with pytest.raises(UsageError, match="output binary is for images of 2 levels, and these have 17"):
        danlu.train(name, model={**NETWORK, "output": "binary"}, out=tmp_path / "x", **SETTINGS)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("output", ["binary", "affine", "logistic"])
def test_other_outputs_train_and_are_evaluated(output, tmp_path):
    data = {"binarize": "static"} if output == "binary" else {}
    result = danlu.train("pixelcnn", model={**NETWORK, "output": output}, out=tmp_path / "x", **data, **SETTINGS)
    scores = danlu.evaluate(result.path)["scores"]
    assert ("dequantized_log_prob" in scores) == (output == "affine")
    steps = danlu.sample(result.path, 4, out=tmp_path / "x.npy").x * (1 if output == "binary" else 16)
    torch.testing.assert_close(steps, steps.round(), atol=1e-5, rtol=0)
