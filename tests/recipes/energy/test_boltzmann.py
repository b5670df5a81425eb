"""The recipe boltzmann: it denoises and completes held-out digits, what its data are, and what it refuses."""

import pytest
import torch

from danlu.data import digits
from danlu.data.base.sign_flips import flip_signs
from danlu.errors import UsageError
from danlu.recipes import BoltzmannRecipe, as_recipe, build


def wrong(y, x):
    """The fraction of pixels that differ."""
    return float((y != x).float().mean())


def trained(recipe):
    built = build(recipe)
    for _ in built.trainer:
        pass
    return built


@pytest.mark.parametrize("couplings", ["all", "restricted"])
def test_it_denoises_and_completes_held_out_digits(couplings):
    """A few hundred rounds are enough to be much better than the noisy image, and than the mean image."""
    size = {"hidden": 16, "couplings": couplings} | ({"clamped_sweeps": 3} if couplings == "all" else {})
    built = trained(BoltzmannRecipe(rounds=200, model=size, lr=0.05, evaluate_every=5000, likelihood=False))
    model, x = built.task.model.eval(), built.data.test["image"][:120]
    generator, mean = torch.Generator().manual_seed(0), built.data.train["image"].mean(0).sign()
    noisy = flip_signs(x, 0.1, "test")
    assert wrong(model.denoise(noisy, 0.1, generator=generator), x) < 0.75 * wrong(noisy, x)
    known = torch.ones(8, 8)
    known[4:] = 0
    filled, with_mean = model.inpaint(x, known, generator=generator), torch.where(known.bool(), x, mean)
    assert wrong(filled, x) < 0.85 * wrong(with_mean, x)


def test_images_are_black_and_white_in_all_parts():
    data, gray = BoltzmannRecipe().load(), digits()
    for name in ("train", "validation", "test"):
        part, original = data.part(name), gray.part(name)
        assert torch.equal(part["image"], torch.where(original["image"] >= 0.5, 1.0, -1.0))
        assert torch.equal(part["label"], original["label"])
    assert (data.info.range, data.info.levels, data.info.shape) == ((-1.0, 1.0), 2, (1, 8, 8))


def test_images_are_resized_before_the_threshold():
    data = BoltzmannRecipe(side=4).load()
    means = torch.nn.functional.avg_pool2d(digits().test["image"], 2)
    assert torch.equal(data.test["image"], torch.where(means >= 0.5, 1.0, -1.0))
    assert data.info.shape == (1, 4, 4)


def signs_file(folder, last="1,-1"):
    file = folder / "signs.csv"
    file.write_text("a,b\n" + "-1,1\n1,-1\n" * 20 + last + "\n")
    return f"table:{file}"


def test_rows_of_signs_are_learned(tmp_path):
    """The values of the rows are always opposite."""
    recipe = BoltzmannRecipe(data=signs_file(tmp_path), model={"hidden": 0}, rounds=300, batch_size=10, lr=0.1)
    model = trained(recipe).task.model
    assert model.log_normalizer().kind == "exact"
    with torch.no_grad():
        assert float(model.log_prob(torch.tensor([[1.0, -1], [-1, 1]])).exp().sum()) > 0.95
    missing = torch.tensor([[1.0, 0.0]])
    assert model.inpaint(torch.tensor([[1.0, -1.0]]), missing).tolist() == [[1, -1]]


def test_rows_must_be_signs(tmp_path):
    data = signs_file(tmp_path, last="0.5,-1")
    with pytest.raises(UsageError, match=r"the value 0.5 in column 'a'; a Boltzmann machine takes rows of -1"):
        BoltzmannRecipe(data=data).load()
    with pytest.raises(UsageError, match="side applies to images"):
        BoltzmannRecipe(data=data, side=4).load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"binarize": "dynamic"}, "binarize=dynamic gives no images of -1 and 1; use threshold"),
        ({"binarize": "none"}, "binarize=none gives no images"),
        ({"augment.flip": "horizontal"}, "augment has no effect: images are binarized before training"),
        ({"model.couplings": "restricted", "model.radius": 2.0}, "model.radius has no effect with model.couplings"),
        ({"model.couplings": "restricted", "model.clamped_sweeps": 2}, "model.clamped_sweeps has no effect with"),
        ({"batch_size": "full"}, "batch_size=full is not available"),
    ],
)
def test_what_has_no_effect_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        as_recipe("boltzmann", changes)
