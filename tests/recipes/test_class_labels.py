"""The check of class labels: the hint on own files is given for own files only."""

import pytest

from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.recipes.class_labels import check_classes


def error(info, data: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        check_classes(info, data, "cgan")
    return caught.value


def test_a_data_set_of_the_catalogue_has_no_hint_on_files():
    assert str(error(TableInfo((2,)), "ring")) == "cgan needs labels of at least two classes, ring has 0"


@pytest.mark.parametrize(("info", "data"), [(TableInfo((2,)), "table:a.csv"), (ImageInfo((1, 8, 8)), "folder:a")])
def test_own_files_have_a_hint(info, data: str):
    start = f"cgan needs labels of at least two classes, {data} has 0; "
    assert str(error(info, data)).startswith(start)


def test_two_classes_are_enough():
    check_classes(TableInfo((2,), 2), "ring", "cgan")
