"""Batches that are too small are refused before a run folder exists, alike by check, dry run and training."""

import pytest

import danlu
from danlu.app.runs.inspect_recipe import check, show
from danlu.errors import UsageError

pytestmark = pytest.mark.usefixtures("few_examples")

CASES = {
    "batch of one": ("cnn", {"model.norm": "batch", "batch_size": 1}, 1),
    "micro-batch of one": ("mlp", {"model.norm": "batch", "batch_size": 8, "grad_accumulation": 8}, 1),
    "uneven micro-batches": ("mlp", {"model.norm": "batch", "batch_size": 7, "grad_accumulation": 4}, 1),
    "one per process": ("mlp", {"model.norm": "batch", "batch_size": 2}, 2),
    "one per micro-batch of a process": ("vae", {"model.norm": "batch", "batch_size": 4, "grad_accumulation": 2}, 2),
    "one labeled row": ("semi-vae", {"model.norm": "batch", "batch_size": 8, "labeled_batch_size": 1}, 1),
    "labeled rows that cannot be divided": ("semi-vae", {"grad_accumulation": 3}, 1),
}
TEXTS = {"labeled rows that cannot be divided": "which must be whole numbers"}


@pytest.mark.parametrize("case", CASES)
def test_batches_that_are_too_small_are_refused_alike(case, tmp_path):
    name, changes, devices = CASES[case]
    text = TEXTS.get(case, "needs at least two; use a larger batch_size")
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=text):
            danlu.train(name, out=tmp_path / "run", devices=devices, dry_run=dry_run, quiet=True, **changes)
    assert not (tmp_path / "run").exists()
    if devices == 1:
        (tmp_path / "recipe.yaml").write_text(show(name, **changes), encoding="utf-8")
        with pytest.raises(UsageError, match=text):
            check(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mlp", {"model.norm": "layer", "batch_size": 1}),
        ("mlp", {"model.norm": "batch", "batch_size": 2}),
        ("mlp", {"model.norm": "batch", "batch_size": 8, "grad_accumulation": 4}),
        ("semi-vae", {"model.norm": "batch", "first_rounds": 1}),
        ("semi-vae", {"model.norm": "batch", "first_rounds": 1, "batch_size": 64, "labeled_batch_size": 32}),
        ("semi-vae", {"model.norm": "batch", "stacked": False, "batch_size": 8, "labeled_batch_size": 2}),
    ],
)
def test_the_smallest_batches_that_are_possible_train(name, changes, tmp_path):
    run = danlu.train(name, out=tmp_path / "run", rounds=2, evaluate_every=2, quiet=True, **changes)
    assert run.page["status"] == "finished"
