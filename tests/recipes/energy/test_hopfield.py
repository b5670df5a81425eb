"""The recipe: which patterns are stored, black and white, and what is refused."""

import pytest
import torch
from torch.nn import functional

import danlu
from danlu.data import digits
from danlu.data.settings import DataSettings
from danlu.errors import UsageError
from danlu.recipes import HopfieldRecipe, as_recipe, build


def test_the_letters_of_the_recipe_are_stored_by_hebbs_rule():
    """They must be different enough, and each is in the data once."""
    built = build(HopfieldRecipe())
    assert [built.data.info.label_names[k] for k in built.data.train["label"]] == ["A", "K", "M", "O", "T", "V"]
    assert [report.round for report in built.trainer] == [1]
    model, x = built.task.model, built.data.train["image"]
    assert torch.equal(model.patterns.float(), x)
    assert torch.equal(model.recall(x), x)
    assert float((built.data.validation["image"] != built.data.validation["pattern"]).float().mean()) == pytest.approx(
        0.2, abs=0.01
    )
    assert not torch.equal(built.data.validation["image"], built.data.test["image"])


def test_patterns_are_the_first_of_each_class_in_turn_at_the_threshold():
    data, train = HopfieldRecipe(data="digits", patterns=23).load(), digits().train
    labels = train["label"].tolist()
    expected, turn = [], 0
    while len(expected) < 23:
        expected += [[k for k, label in enumerate(labels) if label == digit][turn] for digit in range(10)]
        turn += 1
    gray = train["image"][torch.tensor(expected[:23])]
    assert data.train["image"].unique().tolist() == [-1, 1]
    assert torch.equal(data.train["image"] == 1, gray >= 0.5)
    assert data.train["label"].tolist() == [labels[k] for k in expected[:23]]
    assert (data.info.range, data.info.levels, data.info.shape) == ((-1.0, 1.0), 2, (1, 8, 8))


def test_images_are_resized_by_the_mean_of_areas_before_the_threshold():
    small = HopfieldRecipe(data="digits", patterns=4, side=4).load()
    train = digits().train
    first = [next(k for k, label in enumerate(train["label"].tolist()) if label == digit) for digit in range(4)]
    means = functional.avg_pool2d(train["image"][torch.tensor(first)], 2)
    assert torch.equal(small.train["image"] == 1, means >= 0.5)
    assert small.info.shape == (1, 4, 4)


def signs_file(folder, wrong=False):
    path = folder / "signs.csv"
    rows = [[1, -1, 1, 1], [-1, -1, 1, -1], [1, 1, -1, -1]] * 10
    if wrong:
        rows[17][2] = 0.5
    path.write_text("\n".join(["a,b,c,d", *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_rows_of_signs_are_patterns(tmp_path):
    path = signs_file(tmp_path)
    recipe = as_recipe("hopfield", {"data": f"table:{path}", "patterns": 1, "copies": 3})
    built = build(recipe)
    assert len([*built.trainer]) == 1
    assert built.task.model.recall(-built.data.train["x"]).tolist() == [[-value for value in built.data.train["x"][0]]]
    assert len(built.data.test) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patterns": 100}, "patterns=100 exceeds the 62 training examples of glyphs; use fewer"),
        ({"data": "moons"}, r"moons: pattern 0, .* has the value .* in column .*; .* stores rows of -1 and 1"),
        ({"data": "moons", "side": 4}, "side applies to images"),
        ({"augment.flip": "horizontal"}, "augment has no effect: patterns are stored as they are"),
        ({"binarize": "dynamic"}, "binarize=dynamic gives no patterns of -1 and 1; use threshold"),
        ({"binarize": "none"}, "binarize=none gives no patterns"),
        ({"model.beta": 2.0}, "model.beta has no effect with model.form=classic; it applies to modern"),
        ({"model.form": "modern", "model.storage": "pseudo-inverse"}, "model.storage has no effect with model.form"),
        ({"patterns": 7, "model.storage": "pseudo-inverse"}, "pattern 6 of 7, counted from 0, is a linear combination"),
    ],
)
def test_what_cannot_be_stored_is_refused(changes, message):
    with pytest.raises((UsageError, ValueError), match=message):
        for _ in build(as_recipe("hopfield", changes)).trainer:
            pass


def test_the_pattern_and_the_column_of_another_value_are_named(tmp_path):
    path = signs_file(tmp_path, wrong=True)
    split = {"split.validation": 0.0, "split.test": 0.0}
    recipe = as_recipe("hopfield", {"data": f"table:{path}", "patterns": 30, **split})
    with pytest.raises(UsageError, match=r"pattern \d+, a training row, has the value 0.5 in column 'c'") as refused:
        recipe.load()
    number = int(str(refused.value).partition("pattern ")[2].partition(",")[0])
    assert DataSettings.load(recipe).train["x"][number, 2] == 0.5


def test_copies_of_a_pattern_are_one_line_on_the_command_line(tmp_path):
    """The error comes from a turn, after the run has begun."""
    with pytest.raises(UsageError, match=r"pattern 6 of 7, counted from 0, is a linear combination") as refused:
        danlu.train("hopfield", patterns=7, model={"storage": "pseudo-inverse"}, out=tmp_path / "run", quiet=True)
    assert "storage='hebbian'" in str(refused.value)
