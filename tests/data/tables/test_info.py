"""Properties of a table in texts and files: columns, units, and values that are not possible."""

import pytest

from danlu.data.kinds import info_from_json
from danlu.data.tables.info import TableInfo

STANDARDIZED = TableInfo((2,), columns=("length", "width"), shift=(2.0, 5.0), scale=(0.5, 1.0))
PLAIN = TableInfo((2,), columns=("length", "width"))


def test_the_unit_of_a_density_is_that_of_the_rows_of_the_model():
    end = "; a density can be above 1, and its logarithm above 0"
    assert STANDARDIZED.density_note == f"densities of rows, shifted and scaled as the training rows{end}"
    assert PLAIN.density_note == f"densities of rows{end}"


def test_units_have_the_name_and_the_numbers_of_each_column():
    assert STANDARDIZED.units == "length 2.0 0.5\nwidth 5.0 1.0"
    assert PLAIN.units == "length\nwidth"
    assert TableInfo((2,)).units == ""


def test_columns_and_scales_are_those_of_the_file():
    assert (STANDARDIZED.channel_names, STANDARDIZED.scales) == (("length", "width"), (0.5, 1.0))
    assert (PLAIN.scales, TableInfo((2,)).channel_names) == ((), ())
    assert (PLAIN.viewable, PLAIN.image_size, PLAIN.bounds, PLAIN.spacing) == (False, None, None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (1, 2)}, r"rows need a shape of 1 size, got \[1, 2\]"),
        ({"columns": ("length",)}, "columns needs a value for each of the 2 columns, got 1"),
        ({"shift": (0.0,)}, "shift needs a value for each of the 2 columns, got 1"),
        ({"scale": (1.0, 1.0, 1.0)}, "scale needs a value for each of the 2 columns, got 3"),
        ({"fill": (1.0,)}, "fill needs a value for each of the 2 columns, got 1"),
        ({"shift": (0.0, float("nan"))}, "shift, scale and fill must be finite, and scale not 0"),
        ({"scale": (1.0, float("inf"))}, "must be finite"),
        ({"fill": (1.0, float("-inf"))}, "must be finite"),
        ({"scale": (1.0, 0.0)}, "scale not 0"),
        ({"range": (1.0, 1.0)}, r"range must be two increasing numbers, got \[1.0, 1.0\]"),
        ({"range": (float("-inf"), 1.0)}, "two increasing numbers"),
        ({"range": (0.0, float("inf"))}, "two increasing numbers"),
        ({"range": (float("nan"), 1.0)}, "two increasing numbers"),
        ({"classes": -1}, "-1 classes have 0 names"),
        ({"classes": 2, "class_names": ("a",)}, "2 classes have 1 names"),
        ({"shape": (0,)}, r"shape must have positive sizes, got \[0\]"),
    ],
)
def test_values_that_are_not_possible_are_refused(changes, message):
    page = STANDARDIZED.to_json() | changes
    with pytest.raises(ValueError, match=message):
        info_from_json(page).check()
    with pytest.raises(ValueError, match=message):
        TableInfo(**{name: value for name, value in page.items() if name != "kind"}).check()


def test_possible_values_pass():
    for info in (STANDARDIZED, PLAIN, TableInfo((1,), 3, ("a", "b", "c"), (-1.0, 0.0), fill=(0.0,))):
        info.check()
        assert info_from_json(info.to_json()) == info
