"""The links on the way to a file are all that the system follows, in its order."""

import itertools
import os
from pathlib import Path

import pytest

from danlu.storage.plain_files import _links_to


def chain(folder, length):
    """A folder, and links of which each leads to the one before; the last link."""
    (folder / "0").mkdir()
    for number in range(1, length + 1):
        (folder / str(number)).symlink_to(Path(str(number - 1)) if number % 2 else folder / str(number - 1))
    return folder / str(length)


@pytest.mark.parametrize("length", [0, 1, 5, 39, 40])
def test_every_link_of_a_chain_is_given(tmp_path, length):
    """As many as Linux follows."""
    real = tmp_path.resolve()
    last = chain(real, length)
    assert last.is_dir()
    assert list(_links_to(last)) == [real / str(number) for number in range(length, 0, -1)]


@pytest.mark.parametrize("target", ["loop", "loop/deeper", "../{}/loop"])
def test_a_path_that_the_system_cannot_follow_ends(tmp_path, target):
    real = tmp_path.resolve()
    (real / "loop").symlink_to(target.format(real.name))
    with pytest.raises(OSError, match="symbolic links"):
        (real / "loop" / "x").stat()
    given = list(itertools.islice(_links_to(real / "loop"), 1000))
    assert set(given) == {real / "loop"}
    assert len(given) < 1000


def test_links_in_targets_and_two_points_are_followed_as_by_the_system(tmp_path):
    real = tmp_path.resolve()
    (real / "a" / "b").mkdir(parents=True)
    (real / "there").symlink_to("a/b")
    (real / "a" / "back").symlink_to(real / "there" / "..")
    path = real / "a" / "back" / "b" / ".." / "back"
    assert os.path.realpath(path) == str(real / "a")
    through_back = [real / "a" / "back", real / "there"]
    assert list(_links_to(path)) == through_back * 2
    assert list(_links_to(real / "a" / "no" / "such")) == []
