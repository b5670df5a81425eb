"""Pages with a digest."""

import json
import sys
from pathlib import Path

import pytest

from danlu.storage.contents import read_checked_page, write_checked_page


def test_a_page_is_read_as_it_was_written(tmp_path: Path):
    page = {"b": [1, 2.5, None], "a": {"c": "é"}}
    write_checked_page(tmp_path / "page.json", page)
    assert read_checked_page(tmp_path / "page.json") == page


@pytest.mark.parametrize("content", ["", "[]", "3", '{"a": 1}', "{", '{"sha256": "0", "a": 1}'])
def test_another_file_is_a_value_error(content: str, tmp_path: Path):
    (tmp_path / "page.json").write_text(content)
    with pytest.raises(ValueError, match=r"has no digest|was changed|Expecting"):
        read_checked_page(tmp_path / "page.json")


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_a_page_that_is_nested_too_deeply_is_a_value_error(start: str, end: str, tmp_path: Path):
    """Between two depths such a page can be read, but its digest needs a few more calls than are left."""
    path = tmp_path / "page.json"
    for depth in range(sys.getrecursionlimit() - 300, sys.getrecursionlimit() + 10):
        path.write_text('{"sha256": "0", "a": ' + start * depth + json.dumps(1) + end * depth + "}")
        with pytest.raises(ValueError, match=r"page\.json (was changed|has no digest)$"):
            read_checked_page(path)
