"""A folder of image files as a data set: layouts, classes, parts, and what is left alone."""

import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from danlu.app.files.image_files import read_image
from danlu.data import DataSet, Part, read_folder
from danlu.data.base import dataset
from danlu.data.base import folder_listing as module
from danlu.data.base.dataset import PARTS
from danlu.data.images.image_data import ImageData
from danlu.data.kinds import info_from_json
from danlu.data.survey.survey import survey_data_set
from danlu.errors import UsageError
from danlu.storage import Access


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def fill(place: Path, *shades: int):
    """A file for each shade, named by it."""
    place.mkdir(parents=True, exist_ok=True)
    for shade in shades:
        Image.new("L", (4, 3), shade).save(place / f"{shade:03}.png")


def load(photos, **settings) -> DataSet:
    return ImageData.model_validate({"data": f"folder:{photos}", **settings}).load()


def shades(part) -> list[int]:
    return part.fields["image"][:, 0, 0, 0].tolist()


def sizes(data) -> tuple[int, int, int]:
    return len(data.train), len(data.validation), len(data.test)


def test_sub_folders_are_classes_in_sorted_order(photos):
    fill(photos / "dog", *range(100, 120))
    fill(photos / "cat" / "black" / "old", *range(10))
    fill(photos / "cat", *range(10, 30))
    fill(photos / "Zebra", *range(200, 210))
    data = load(photos)
    assert (data.name, data.info.kind, data.info.shape) == ("folder:photos", "images", (1, 3, 4))
    assert (data.info.classes, data.info.class_names) == (3, ("Zebra", "cat", "dog"))
    assert data.info.fit == "crop"
    for part in (data.train, data.validation, data.test):
        for shade, label in zip(shades(part), part["label"].tolist(), strict=True):
            assert label == (0 if shade >= 200 else 2 if shade >= 100 else 1)
    assert data.train["label"].dtype == torch.int64


def test_every_class_is_shared_out_alike(photos):
    fill(photos / "cat", *range(50))
    fill(photos / "dog", *range(100, 120))
    data = load(photos, split={"validation": 0.2, "test": 0.3})
    counts = [Counter(part["label"].tolist()) for part in (data.train, data.validation, data.test)]
    assert counts == [{0: 25, 1: 10}, {0: 10, 1: 4}, {0: 15, 1: 6}]


def test_no_file_is_in_two_parts_and_none_is_lost(photos):
    fill(photos / "cat", *range(100))
    fill(photos / "dog", *range(100, 200))
    data = load(photos)
    together = [*shades(data.train), *shades(data.validation), *shades(data.test)]
    assert sorted(together) == list(range(200))
    assert sizes(data) == (140, 20, 40)


def test_the_split_depends_on_its_seed_alone(photos):
    fill(photos, *range(100))
    first, again, other = (set(shades(load(photos, split={"seed": seed}).test)) for seed in (0, 0, 1))
    assert first == again != other


def test_without_sub_folders_there_are_no_labels(photos):
    fill(photos, *range(40))
    data = load(photos)
    assert (data.info.classes, data.info.class_names) == (0, ())
    assert list(data.train.fields) == ["image"]
    assert sizes(data) == (28, 4, 8)


def test_one_class_is_one_class(photos):
    fill(photos / "cat", *range(40))
    data = load(photos)
    assert (data.info.classes, data.info.class_names) == (1, ("cat",))
    assert not data.train["label"].any()


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_official_parts(photos, validation):
    for part, start in (("train", 0), (validation, 100), ("test", 200)):
        fill(photos / part / "cat", *range(start, start + 4))
        fill(photos / part / "dog", *range(start + 10, start + 12))
    data = load(photos)
    for part, start in ((data.train, 0), (data.validation, 100), (data.test, 200)):
        assert shades(part) == [start + n for n in (0, 1, 2, 3, 10, 11)]
        assert part["label"].tolist() == [0, 0, 0, 0, 1, 1]


def test_official_parts_without_classes(photos):
    for part, start in (("train", 0), ("validation", 100), ("test", 200)):
        fill(photos / part, *range(start, start + 4))
    data = load(photos)
    assert [shades(part)[0] for part in (data.train, data.validation, data.test)] == [0, 100, 200]
    assert data.info.classes == 0


def test_what_is_missing_of_the_official_parts_is_split_off_the_training_part(photos):
    fill(photos / "train" / "cat", *range(100))
    data = load(photos)
    assert sizes(data) == (70, 10, 20)
    fill(photos / "test" / "cat", *range(200, 205))
    data = load(photos)
    assert sizes(data) == (90, 10, 5)
    assert shades(data.test) == list(range(200, 205))
    fill(photos / "val" / "cat", *range(210, 213))
    assert sizes(load(photos)) == (100, 3, 5)
    for path in (photos / "test" / "cat").iterdir():
        path.unlink()
    (photos / "test" / "cat").rmdir()
    (photos / "test").rmdir()
    assert sizes(load(photos)) == (80, 3, 20)


@pytest.mark.unchecked
def test_a_fraction_that_nothing_is_split_by_is_refused(photos):
    fill(photos / "train" / "cat", *range(100))
    fill(photos / "test" / "cat", *range(200, 205))
    refused(
        photos, r"split.test has no effect: .*photos has a folder for the test part; leave it out", split={"test": 0.3}
    )
    assert sizes(load(photos, split={"validation": 0.2})) == (80, 20, 5)


@pytest.mark.unchecked
def test_a_seed_that_nothing_is_split_by_is_refused(photos):
    fill(photos / "train" / "cat", *range(100))
    fill(photos / "test" / "cat", *range(200, 205))
    refused(photos, "split.seed has no effect: no part is split off at random", split={"seed": 7, "validation": 0})
    assert sizes(load(photos, split={"seed": 7})) == (90, 10, 5)
    fill(photos / "validation" / "cat", 300)
    refused(photos, "split.seed has no effect: no part is split off at random", split={"seed": 7})


def test_a_class_can_be_missing_where_nothing_is_learned(photos):
    fill(photos / "train" / "cat", *range(5))
    fill(photos / "train" / "dog", *range(10, 15))
    fill(photos / "validation" / "dog", 20)
    fill(photos / "test" / "dog", 30)
    data = load(photos)
    assert data.info.class_names == ("cat", "dog")
    assert (data.validation["label"].tolist(), data.test["label"].tolist()) == ([1], [1])


def test_a_train_can_be_a_vehicle(photos):
    for name, start in (("train", 0), ("plane", 50), ("car", 100)):
        fill(photos / name, *range(start, start + 20))
    assert load(photos).info.class_names == ("car", "plane", "train")


def test_the_order_of_the_system_is_no_matter(photos, monkeypatch):
    fill(photos / "cat", *range(50))
    fill(photos / "dog", *range(100, 150))
    usual = os.scandir

    class Shuffled:
        def __init__(self, path):
            with usual(path) as entries:
                self.entries = list(entries)
            random.Random(str(path)).shuffle(self.entries)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *exception):
            pass

    first = load(photos)
    monkeypatch.setattr(module.os, "scandir", Shuffled)
    monkeypatch.setenv("DANLU_CACHE", os.environ["DANLU_CACHE"] + "2")
    assert load(photos).fingerprint() == first.fingerprint()


def test_parts_are_mapped_and_use_one_file(photos):
    fill(photos, *range(40))
    data = load(photos)
    parts = (data.train, data.validation, data.test)
    assert all(part.sources for part in parts)
    starts = [part.fields["image"].data_ptr() - data.train.fields["image"].data_ptr() for part in parts]
    assert starts == [0, 28 * 12, 32 * 12]
    torch.testing.assert_close(data.train["image"][:, 0, 0, 0] * 255, torch.tensor(shades(data.train)).float())


def count_hashed_values(monkeypatch):
    """The fields whose values are hashed, in a list that grows."""
    hashed, original = [], dataset._update_with_values

    def watched(digest, part, name):
        hashed.append(name)
        original(digest, part, name)

    monkeypatch.setattr(dataset, "_update_with_values", watched)
    return hashed


def test_the_fingerprint_of_mapped_images_is_that_of_the_images_in_memory_and_reads_them_once(photos, monkeypatch):
    fill(photos, *range(40))
    data = load(photos)
    memory = replace(data, **{name: data.part(name).unmapped() for name in PARTS})
    hashed = count_hashed_values(monkeypatch)
    expected = memory.fingerprint()
    assert hashed.count("image") == 3
    assert data.fingerprint() == expected
    assert hashed.count("image") == 6
    assert data.fingerprint() == load(photos).fingerprint() == expected
    assert hashed.count("image") == 6
    for entry in (Path(os.environ["DANLU_CACHE"]) / "fingerprints").iterdir():
        entry.write_text("garbled")
    assert data.fingerprint() == expected


def test_the_fingerprint_changes_with_the_file_the_position_and_the_other_fields(photos):
    fill(photos, *range(40))
    data = load(photos)
    first = data.fingerprint()
    assert replace(data, train=data.validation, validation=data.train).fingerprint() != first
    labeled = Part({**data.train.fields, "label": torch.zeros(28, dtype=torch.int64)}, sources=data.train.sources)
    assert replace(data, train=labeled).fingerprint() != first
    neighbor = Part(
        {**data.train.fields, "image": data.train.fields["image"].roll(1, 0)}, sources={"image": "another file"}
    )
    assert replace(data, train=neighbor).fingerprint() != first
    fill(photos, *range(1, 41))
    assert load(photos).fingerprint() != first


def test_a_fingerprint_without_a_cache_is_computed(photos, monkeypatch):
    fill(photos, *range(40))
    data = load(photos)
    first = data.fingerprint()
    monkeypatch.setenv("DANLU_CACHE", "/dev/null/no")
    assert data.fingerprint() == first


def test_what_is_no_image_is_left_alone_and_counted(photos):
    fill(photos, *range(40))
    for name in (".hidden.png", "Thumbs.db", ".DS_Store", "labels.csv", "notes.txt", "more.TXT", "README", "x.json"):
        (photos / name).write_text("x")
    data = load(photos)
    assert sum(sizes(data)) == 40
    (note,) = data.notes
    start, _, kinds = note.partition(": ")
    assert start == "8 other files are ignored"
    assert kinds.startswith("3 hidden, 2 .txt, ")
    assert sorted(kinds.split(", ")[2:]) == ["1 .csv", "1 .json", "1 without a suffix"]


def test_hidden_folders_are_no_classes(photos):
    fill(photos / "cat", *range(20))
    fill(photos / "dog", *range(100, 120))
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
        fill(photos / name, 77)
        fill(photos / "cat" / name, 78)
    data = load(photos)
    assert data.info.class_names == ("cat", "dog")
    assert sum(sizes(data)) == 40


def test_a_pipe_is_not_waited_for(photos):
    fill(photos, *range(40))
    os.mkfifo(photos / "pipe.png")
    assert sum(sizes(load(photos))) == 40


def test_names_in_any_script_and_suffixes_in_any_case(photos):
    fill(photos / "猫", *range(20))
    fill(photos / "犬 (dog)", *range(100, 120))
    (photos / "猫" / "000.png").rename(photos / "猫" / "ü ñ.PNG")
    data = load(photos)
    assert data.info.class_names == ("犬 (dog)", "猫")
    assert sum(sizes(data)) == 40


def test_files_that_are_left_out_change_nothing_for_the_others(photos):
    fill(photos / "cat", *range(100))
    fill(photos / "dog", *range(100, 200))
    whole = load(photos)
    for shade in (3, 50, 130):
        next(photos.rglob(f"{shade:03}.png")).write_bytes(b"")
    data = load(photos, images={"unreadable": "skip"})
    for name in ("train", "validation", "test"):
        kept = [shade for shade in shades(whole.part(name)) if shade not in (3, 50, 130)]
        assert shades(data.part(name)) == kept
        assert data.part(name)["label"].tolist() == [int(shade >= 100) for shade in kept]
    assert data.notes == (
        "3 of 200 files could not be read and were left out: cat/003.png (the file is empty), "
        "cat/050.png (the file is empty), dog/130.png (the file is empty)",
    )


def test_settings_reach_the_files(photos):
    for number in range(20):
        Image.new("RGB", (8, 4), (number, 0, 0)).save(photos / f"{number}.png")
    data = load(photos, images={"size": (6, 5), "fit": "pad", "color": "gray"})
    assert (data.info.shape, data.info.fit) == ((1, 6, 5), "pad")
    assert (data.train.fields["image"][:, 0, [0, 5]] == 255).all()
    assert load(photos, images={"size": (7,)}).info.shape == (3, 7, 7)


def test_progress_is_told(photos):
    fill(photos / "cat", *range(20))
    told = []
    read_folder(str(photos), access=Access(progress=lambda *words: told.append(words)))
    found = [("listing files", 0, None), ("listing files", 20, None), ("listing files", 20, 20)]
    assert told == [
        *found,
        ("reading headers", 16, 20),
        ("reading headers", 20, 20),
        ("decoding images", 16, 20),
        ("decoding images", 20, 20),
    ]


def refused(photos, pattern, **settings):
    with pytest.raises(UsageError, match=pattern):
        load(photos, **settings)


def test_paths_that_are_no_folder(photos):
    fill(photos, 1)
    with pytest.raises(UsageError, match="the data set folder needs the path of a folder"):
        read_folder(argument="")
    refused(photos / "001.png", r"is a file; give the folder that contains it")
    refused(photos.parent / "photo", r"folder not found: .*; did you mean 'photos'\?")


def test_mixed_layouts(photos):
    fill(photos / "cat", *range(5))
    fill(photos, 10, 11)
    refused(photos, r"photos has 2 image files \(010.png, 011.png\) beside the folders cat/; put every image into")


def test_official_parts_that_do_not_fit_together(photos):
    fill(photos / "train" / "cat", *range(5))
    fill(photos / "test", 10)
    refused(
        photos, r"train has one subfolder per class, and .*test has no subfolders; all parts must have the same layout"
    )


def test_an_official_part_without_images(photos):
    fill(photos / "train" / "cat", *range(5))
    (photos / "test").mkdir()
    (photos / "test" / "notes.txt").write_text("no image")
    refused(photos, r"photos/test has no images")


def test_official_parts_with_other_classes(photos):
    fill(photos / "train" / "cat", *range(5))
    fill(photos / "train" / "dog", *range(10, 15))
    fill(photos / "test" / "dogs", 20)
    refused(photos, r"test/dogs: train/ has no class of this name; did you mean 'dog'\?")


def test_official_parts_beside_something_else(photos):
    for name, shade in (("train", 0), ("test", 100), ("more", 200)):
        fill(photos / name / "cat", *range(shade, shade + 5))
    refused(photos, r"has the folders test/, train/, which look like parts, and more/; put each")


def test_official_parts_beside_files(photos):
    fill(photos / "train" / "cat", *range(5))
    fill(photos / "test" / "cat", *range(10, 15))
    fill(photos, 20)
    refused(photos, r"has test/, train/ and 1 image file \(020.png\) outside of them")


def test_two_folders_for_one_part(photos):
    for name in ("train", "val", "valid"):
        fill(photos / name, *range(5))
    refused(photos, r"has two folders for the validation part, val/ and valid/; keep one")


def test_no_training_part(photos):
    fill(photos / "test" / "cat", *range(5))
    refused(photos, r"has test/ but no train/, which is needed for training")


def test_classes_and_parts_that_would_be_empty(photos):
    for name in "ab":
        fill(photos / name, *range(2))
    refused(photos, r"the validation part would be empty \(4 images in 2 classes\); add images, change split")
    for name in "abcde":
        fill(photos / name, *range(4))
    assert sizes(load(photos)) == (14, 2, 4), "small classes do not each round the validation part to nothing"
    data = load(photos, split={"validation": 0.25, "test": 0.25})
    assert sizes(data) == (10, 5, 5)
    assert sizes(load(photos, split={"validation": 0})) == (16, 0, 4), "an empty part can be asked for"
    fill(photos / "f", 1)
    assert 5 in load(photos, split={"validation": 0.3, "test": 0.3}).train["label"]
    refused(
        photos,
        r"class [a-f] has [14] of 21 images, and none in the training part",
        split={"validation": 0.4, "test": 0.4},
    )


def test_a_class_of_which_nothing_can_be_read(photos):
    fill(photos / "cat", *range(20))
    fill(photos / "dog", *range(20))
    for path in (photos / "dog").iterdir():
        path.write_bytes(b"")
    refused(photos, r"class dog has 0 of 20 images, and none in the training part", images={"unreadable": "skip"})


def test_a_folder_that_may_not_be_read(photos, monkeypatch):
    """The system's answer is imitated, for who runs the tests may be allowed to read everything."""
    fill(photos / "cat", *range(20))
    usual = os.scandir

    def scandir(path):
        if Path(path).name == "cat":
            raise PermissionError(13, "Permission denied")
        return usual(path)

    monkeypatch.setattr(module.os, "scandir", scandir)
    refused(photos, r"photos/cat/? cannot be listed: Permission denied")


def test_many_sizes_are_a_problem_that_a_survey_lists(photos):
    fill(photos, *range(12))
    assert load(photos).problems == ()
    for number in range(30):
        Image.new("L", (9 + number, 7), number).save(photos / f"y{number}.png")
    data = load(photos)
    assert "--images.size" in data.problems[0]
    assert data.problems[0] in data.notes
    for _ in range(2):  # computed, and from the cache
        assert survey_data_set(data).problems.count(data.problems[0]) == 1
    assert load(photos, images={"size": (7,)}).problems == ()


def test_files_of_any_size_are_inputs_as_the_examples_of_the_folder_are(photos):
    """A model that was trained on a folder reads its files to the same values."""
    source = np.random.default_rng(0)
    for number in range(12):
        shape = (*source.integers(60, 300, 2), 3)
        Image.fromarray(source.integers(0, 256, shape, dtype=np.uint8)).save(photos / f"{number:02}.jpg")
    for fit in ("crop", "pad", "stretch"):
        data = load(photos, images={"fit": fit})
        rows = torch.cat([data.part(name)["image"] for name in PARTS])
        info = info_from_json(data.info.to_json())
        inputs = torch.stack([read_image(path, info) for path in sorted(photos.iterdir())])
        assert all((row == inputs).flatten(1).all(1).any() for row in rows)
