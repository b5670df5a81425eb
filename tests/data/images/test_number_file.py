"""Images with a number each: which number belongs to which image, and what a broken file is told."""

import numpy as np
import pytest
from PIL import Image

import danlu
from danlu.data.images.image_folder import read_folder
from danlu.data.images.settings import Images
from danlu.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    """60 gray images, each with the gray level of its number; a file that gives twice that level."""
    (tmp_path / "photos").mkdir()
    lines = ["file;level;note"]
    for number in range(60):
        Image.new("L", (6, 6), number * 4).save(tmp_path / "photos" / f"{number}.png")
        lines.append(f"{number}.png;{number * 8};x")
    (tmp_path / "n.csv").write_text("\n".join(lines))
    return tmp_path


def test_each_image_gets_its_number(folder):
    data = read_folder(str(folder / "photos"), Images(numbers=str(folder / "n.csv")))
    number = data.info.target
    assert (number.name, data.info.classes) == ("level", 0)
    for part in (data.train, data.validation, data.test):
        level = (part["image"][:, 0, 0, 0] * 255).double()
        values = part["target"].double() * number.scale + number.shift
        assert values.tolist() == pytest.approx((2 * level).tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,y\n0.png,1\n", "has no number for 59 of 60 images: .*relative to the folder"),
        ("file,y\n0.png,1\n0.png,2\n", "line 3: 0.png has a number already"),
        ("file,y\n0.png,old\n", "line 2: 'old' is not a finite number"),
        ("file\n0.png\n", "needs two columns"),
    ],
)
def test_a_broken_file_is_refused(folder, text, message):
    (folder / "n.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_folder(str(folder / "photos"), Images(numbers=str(folder / "n.csv")))


def test_a_missing_file_is_named(folder):
    with pytest.raises(UsageError, match="none does not exist"):
        read_folder(str(folder / "photos"), Images(numbers=str(folder / "none")))


def test_classes_and_numbers_exclude_each_other(folder):
    for name in ("a", "b"):
        (folder / "classes" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (6, 6)).save(folder / "classes" / name / f"{number}.png")
    (folder / "n.csv").write_text("file,y\n" + "".join(f"{c}/{n}.png,{n}\n" for c in "ab" for n in range(10)))
    with pytest.raises(UsageError, match=r"one subfolder per class, and images\.numbers"):
        read_folder(str(folder / "classes"), Images(numbers=str(folder / "n.csv")))


def test_cnn_learns_the_position_of_a_square(tmp_path):
    source = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    lines = ["file,position"]
    for number in range(300):
        pixels = source.integers(0, 60, (12, 12), dtype=np.uint8)
        y, x = source.integers(0, 10, 2)
        pixels[y : y + 3, x : x + 3] = 255
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
        lines.append(f"{number}.png,{100 + 7.5 * x}")
    (tmp_path / "n.csv").write_text("\n".join(lines))
    page = {"data": f"folder:{tmp_path / 'photos'}", "images": {"numbers": str(tmp_path / "n.csv")}}
    danlu.train("cnn", out=tmp_path / "run", quiet=True, epochs=8, **page)
    scores = danlu.evaluate(tmp_path / "run")["scores"]
    assert scores["r2"] > 0.7
    assert scores["rmse"] < 0.5 * scores["baseline_rmse"]
    assert danlu.predict(tmp_path / "run", tmp_path / "photos" / "0.png")[0].value == pytest.approx(
        float(lines[1].split(",")[1]), abs=40
    )
