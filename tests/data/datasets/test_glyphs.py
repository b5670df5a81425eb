"""Glyphs are functions of their index, have the attributes that they are said to have, and parts with other faces."""

import itertools
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

import danlu
from commands import start
from danlu.data import Glyphs, Split, glyphs
from danlu.data.base.dataset import PARTS
from danlu.data.datasets import glyph_faces
from danlu.data.datasets.glyph_faces import FACES, read_outlines, select_faces
from danlu.data.datasets.glyphs import CAPITAL, CLASSES, MIDDLE, SIDE, attribute, draw
from danlu.data.images.glyph_settings import ALPHABET
from danlu.errors import RunError, UsageError
from danlu.recipes import as_recipe
from danlu.recipes.config.yaml_files import from_text, to_yaml

FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
STILL = {"rotate": 0.0, "scale": (1.0, 1.0), "translate": 0.0}
BY_NAME = {face.name: face for face in FACES}


def sheet(face, **settings):
    """The picture of each character of a face, in the order of the alphabet, as numbers from 0 to 1."""
    drawn = draw(torch.arange(len(ALPHABET)), "train", Glyphs(**(STILL | settings)), (face,))
    assert sorted(drawn.character.tolist()) == list(range(len(ALPHABET)))
    return drawn.image[drawn.character.argsort(), 0].double() / 255


@pytest.fixture(scope="module")
def sheets():
    return {face.name: sheet(face) for face in FACES}


@pytest.fixture(scope="module")
def data():
    return glyphs(glyphs=Glyphs(examples=3000))


# --- a function of the index ------------------------------------------------------------------------------------------


def test_a_picture_is_a_function_of_its_index():
    """In any order, of any subset, and whatever torch's generator has drawn."""
    all_of_them = draw(torch.arange(500), "train")
    torch.manual_seed(3)
    index = torch.randperm(500)[:100]
    some = draw(index, "train")
    assert all(part.equal(whole[index]) for part, whole in zip(some, all_of_them, strict=True))
    one = draw(torch.tensor([10**12 + 7]), "train")
    assert one.image.equal(draw(torch.tensor([3, 10**12 + 7]), "train").image[1:])


def test_examples_of_different_indices_and_parts_differ():
    drawn = [draw(torch.arange(500), part, Glyphs(), FACES).image.flatten(1) for part in PARTS]
    assert len(torch.cat(drawn).unique(dim=0)) == 1500


def test_a_larger_data_set_begins_with_the_smaller_one(data):
    larger = glyphs(glyphs=Glyphs(examples=6000))
    for part in PARTS:
        few = data.part(part)
        for name, values in few.fields.items():
            assert larger.part(part).fields[name][: len(few)].equal(values)


def test_the_data_set_is_what_is_drawn(data):
    """Over the borders of the chunks."""
    for part, size in (("train", 2100), ("validation", 300), ("test", 600)):
        drawn = draw(torch.arange(size), part)
        fields = data.part(part).fields
        assert all(values.equal(fields[name]) for name, values in drawn._asdict().items())
        assert fields["label"].equal(drawn.character)


def test_the_same_index_in_another_face_is_the_same_character_in_the_same_position():
    index = torch.arange(300)
    settings = Glyphs(scale=(0.5, 0.7))  # nothing is as large as its image, so nothing is limited
    regular, bold = (draw(index, "train", settings, (BY_NAME[name],)) for name in ("DejaVuSans", "DejaVuSans-Bold"))
    assert regular.character.equal(bold.character)

    def means(drawn):
        ink = drawn.image[:, 0].double()
        rows, columns = torch.meshgrid(*[torch.arange(28.0).double()] * 2, indexing="ij")
        return torch.stack([(ink * at).sum((1, 2)) / ink.sum((1, 2)) for at in (rows, columns)], 1)

    assert (means(regular) - means(bold)).abs().max() < 1.5
    spread = means(regular) - means(draw(index, "test", settings, (BY_NAME["DejaVuSans"],)))
    assert spread.abs().max() > 3


def test_each_block_of_indices_has_each_character_once_and_all_faces_are_drawn():
    drawn = draw(torch.arange(62 * 40), "train")
    assert drawn.character.view(40, 62).sort(1).values.equal(torch.arange(62).expand(40, 62))
    assert len(drawn.character.view(40, 62).unique(dim=0)) == 40
    counts = drawn.face.bincount(minlength=len(FACES))
    faces = select_faces(Glyphs(), "train")
    expected = 62 * 40 / len(faces)
    assert [FACES[number] for number in counts.nonzero().flatten()] == list(faces)
    assert (counts[counts > 0] - expected).abs().max() < 5 * expected**0.5


# --- the pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_a_picture_is_that_of_another_rasterizer(name, sheets):
    """Pillow draws each character 16 times as large; the means of 16×16 of its pixels are compared."""
    fine = 16
    size = fine * CAPITAL / _capital(name)
    font = ImageFont.truetype(str(FONTS / f"{name}.ttf"), size, layout_engine=ImageFont.Layout.BASIC)
    for number, character in enumerate(ALPHABET):
        image = Image.new("L", (2 * fine * SIDE, fine * SIDE))
        y = round(fine * (SIDE / 2 + MIDDLE * CAPITAL))
        ImageDraw.Draw(image).text((fine * SIDE, y), character, 255, font, anchor="ms")
        left, _, right, _ = image.getbbox()
        if right - left > fine * (SIDE - 2):  # it is scaled down to fit
            assert character in "MW"
            assert (sheets[name][number].amax(0) > 0).sum() == SIDE - 2
            continue
        begin = round((left + right - fine * SIDE) / 2)
        centered = np.asarray(image)[:, begin : begin + fine * SIDE]
        expected = (centered / 255).reshape(SIDE, fine, SIDE, fine).mean((1, 3))
        difference = np.abs(sheets[name][number].numpy() - expected)
        # hinting and rounding to whole pixels move an edge by about a pixel of Pillow's image, 1/16 of ours
        assert difference.max() < 0.2, character
        assert difference.mean() < 0.01, character


def _capital(name):
    """The height of a capital, as a fraction of the size of the font."""
    font = FT2Font(str(FONTS / f"{name}.ttf"))
    font.set_size(1000, 72)
    font.load_char(ord("H"), flags=matplotlib.ft2font.LoadFlags.NO_HINTING)
    return font.get_path()[0][:, 1].max() / 1000


def test_nothing_is_drawn_on_the_border():
    for settings in (Glyphs(), Glyphs(rotate=180, scale=(0.5, 3.0), translate=0.9)):
        for part in PARTS:
            ink = draw(torch.arange(1500), part, settings).image[:, 0]
            border = torch.cat([ink[:, [0, -1]].flatten(), ink[:, :, [0, -1]].flatten()])
            assert not border.any()
            assert ink.flatten(1).max(1).values.min() > 100


def test_rotation_scale_and_shift_are_those_of_the_settings():
    """A capital I of a sans-serif face is a rectangle, whose moments give its angle and size."""
    settings = Glyphs(characters=("I",), rotate=30, scale=(0.5, 1.0), translate=0.1)
    ink = draw(torch.arange(2000), "train", settings, (BY_NAME["DejaVuSans"],)).image[:, 0].double()
    rows, columns = torch.meshgrid(*[torch.arange(28.0).double()] * 2, indexing="ij")
    mass = ink.sum((1, 2))
    y, x = ((ink * at).sum((1, 2)) / mass for at in (rows, columns))
    dy, dx = rows - y[:, None, None], columns - x[:, None, None]
    yy, xy, xx = ((ink * product).sum((1, 2)) / mass for product in (dy * dy, dx * dy, dx * dx))
    angle = 0.5 * torch.atan2(-2 * xy, xx - yy)  # of the main axis from the horizontal
    tilt = torch.rad2deg(torch.remainder(angle, torch.pi)) - 90
    assert tilt.abs().max() < 31
    assert tilt.min() < -28
    assert tilt.max() > 28
    stroke = read_outlines("DejaVuSans").edges[read_outlines("DejaVuSans").first[ALPHABET.index("I")] :][:4, :, 0]
    width = (stroke.max() - stroke.min()).item() * CAPITAL
    scale = (mass / 255 / (CAPITAL * width)).sqrt()
    assert 0.49 < scale.min() < 0.52
    assert 0.98 < scale.max() < 1.01
    middle = SIDE / 2 - 0.5
    away = torch.stack([x - middle, y - middle]).abs().max()
    assert 2.5 < away < 2.8 + 0.13 * CAPITAL  # half of the height is 0.13 above MIDDLE


# --- attributes -------------------------------------------------------------------------------------------------------


def twins(name, first, second):
    """Pairs of faces of one design that differ in one attribute."""
    others = [other for other in ("family", "weight", "slant") if other != name]
    design = {face.name: re.sub(r"-?(Bold|Bol|Oblique|Italic|Ita)+$", "", face.name) for face in FACES}
    design |= {"cmr10": "cm", "cmb10": "cm", "cmti10": "cm"}
    return [
        (a, b)
        for a, b in itertools.product(FACES, FACES)
        if (getattr(a, name), getattr(b, name)) == (first, second)
        and design[a.name] == design[b.name]
        and all(getattr(a, other) == getattr(b, other) for other in others)
    ]


def test_a_bold_face_has_more_ink_than_the_regular_one_of_its_design(sheets):
    pairs = twins("weight", "regular", "bold")
    assert len(pairs) == 9
    for regular, bold in pairs:
        ink = [sheets[face.name].sum((1, 2)) for face in (regular, bold)]
        assert (ink[1] > ink[0]).double().mean() > 0.9
        assert ink[1].mean() > 1.15 * ink[0].mean()


def test_italic_faces_are_sheared_and_upright_ones_are_not(sheets):
    """The shear is the slope of the mean column over the rows, of letters whose upright form is symmetric."""
    symmetric = [ALPHABET.index(character) for character in "HIOTo0"]
    y, x = torch.meshgrid(-torch.arange(28.0).double(), torch.arange(28.0).double(), indexing="ij")
    for face in FACES:
        ink = sheets[face.name][symmetric]
        ink = ink / ink.sum((1, 2), keepdim=True)
        mean_x, mean_y = ((ink * at).sum((1, 2)) for at in (x, y))
        shear = ((ink * x * y).sum((1, 2)) - mean_x * mean_y) / ((ink * y * y).sum((1, 2)) - mean_y**2)
        if face.slant == "italic":
            assert 0.1 < shear.mean() < 0.4, face.name
        else:
            assert abs(shear.mean()) < 0.02, face.name


def test_a_lower_case_letter_of_the_same_shape_is_smaller(sheets):
    for face in FACES:
        height = (sheets[face.name].amax(2) > 0.5).sum(1)
        for letter in "cosvwxz":
            assert height[ALPHABET.index(letter)] < 0.9 * height[ALPHABET.index(letter.upper())], face.name


def test_the_attributes_are_those_of_the_names_in_the_font_files():
    patterns = {
        "bold": "bold|^cmb",
        "italic": "italic|oblique|^cmti",
        "mono": "mono|^cmtt",
        "sans": "sans(?! mono)|^cmss",
        "serif": "serif|stix|^cmr|^cmb|^cmti",
    }
    for face in FACES:
        font = FT2Font(str(FONTS / f"{face.name}.ttf"))
        names = f"{font.family_name} {font.style_name}".lower()
        values = {value for value, pattern in patterns.items() if re.search(pattern, names)}
        assert values == {face.weight, face.slant, face.family} - {"regular", "upright"}, names


@pytest.mark.parametrize("label", CLASSES)
def test_the_label_is_the_attribute(label):
    data = glyphs(glyphs=Glyphs(examples=1000, label=label))
    assert data.info.class_names == CLASSES[label]
    for part in (data.part(name) for name in PARTS):
        for number, character, face in zip(part["label"], part["character"], part["face"], strict=True):
            text, style = ALPHABET[int(character)], FACES[int(face)]
            known = {"character": text, "case": "digit" if text.isdigit() else "upper" if text.isupper() else "lower"}
            known |= {name: getattr(style, name) for name in ("family", "weight", "slant")}
            assert data.info.class_names[int(number)] == known[label]
            assert CLASSES[label][int(attribute(label, character[None], face[None]))] == known[label]


# --- faces ------------------------------------------------------------------------------------------------------------


def test_no_face_is_in_two_parts_and_each_part_has_each_family_weight_and_slant(data):
    assert len(BY_NAME) == len(FACES) == 21
    drawn = {part: {FACES[number] for number in data.part(part)["face"].tolist()} for part in PARTS}
    assert sum(map(len, drawn.values())) == len(set().union(*drawn.values())) == 21
    for part, faces in drawn.items():
        assert {face.part for face in faces} == {part}
        for name in ("family", "weight", "slant"):
            assert {getattr(face, name) for face in faces} == set(CLASSES[name])
    pairs = {(face.family, face.weight) for face in drawn["train"]}
    assert len(pairs) == 6


def latin_faces():
    """The fonts of matplotlib that have different outlines for all letters and digits."""
    for path in sorted(FONTS.glob("*.ttf")):
        font = FT2Font(str(path))
        if all(map(font.get_char_index, map(ord, ALPHABET))):
            outlines = set()
            for character in ALPHABET:
                font.load_char(ord(character))
                outlines.add(font.get_path()[0].tobytes())
            if len(outlines) == len(ALPHABET):
                yield path.stem


def test_the_faces_are_all_latin_fonts_of_matplotlib():
    """But for the mathematical fonts of Computer Modern, which have symbols or old-style digits.

    The font of last resort has the same box for all letters.
    """
    assert set(latin_faces()) == set(BY_NAME) | {"cmex10", "cmmi10", "cmsy10"}


def test_no_two_characters_of_a_face_are_alike(sheets):
    for name, pictures in sheets.items():
        flat = pictures.flatten(1)
        assert flat.sum(1).min() > 15
        difference = torch.cdist(flat, flat, p=1) + 1e9 * torch.eye(len(flat)).double()
        pair = divmod(int(difference.argmin()), len(flat))
        assert difference.min() > 3, f"{name}: {[ALPHABET[number] for number in pair]}"


# --- settings ---------------------------------------------------------------------------------------------------------


def test_characters_and_faces_are_selected():
    data = glyphs(glyphs=Glyphs(examples=500, characters=("digits", "b", "A", "3"), family="serif", weight="regular"))
    assert data.info.class_names == tuple("0123456789Ab")
    for part in (data.part(name) for name in PARTS):
        assert {(FACES[face].family, FACES[face].weight) for face in part["face"].tolist()} == {("serif", "regular")}
    assert {ALPHABET[number] for number in data.train["character"].tolist()} == set("0123456789Ab")
    assert data.train["label"].unique().tolist() == list(range(12))


@pytest.mark.parametrize("name", ["family", "weight", "slant"])
def test_every_single_choice_of_faces_has_faces_in_every_part(name):
    for value in CLASSES[name]:
        chosen = Glyphs(**{name: value})
        assert all(getattr(face, name) == value for part in PARTS for face in select_faces(chosen, part))
        assert all(select_faces(chosen, part) for part in PARTS)


def test_a_part_may_be_empty():
    data = glyphs(glyphs=Glyphs(examples=50, family="sans", weight="bold"), split=Split(test=0))
    assert [len(data.part(part)) for part in PARTS] == [45, 5, 0]


REFUSED = {
    "no examples": ({"glyphs.examples": 0}, "glyphs.examples: expected an integer >= 1 and <= 10000000, got 0"),
    "unknown label": ({"glyphs.label": "caracter"}, "got 'caracter'; did you mean 'character'?"),
    "unknown character": ({"glyphs.characters": ("é",)}, "'é' is neither a letter from A to Z or a to z, nor a digit"),
    "unknown group": ({"glyphs.characters": ("digit",)}, "did you mean 'digits'?"),
    "no character": ({"glyphs.characters": ()}, "glyphs.characters: expected a list .* of length >= 1"),
    "empty character": ({"glyphs.characters": ("",)}, "'' is neither a letter"),
    "unknown family": ({"glyphs.family": "sanserif"}, "did you mean 'sans'?|did you mean 'serif'?"),
    "scale": ({"glyphs.scale": (1.2, 0.9)}, "0 < smallest <= largest, got 1.2 0.9"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_setting_that_is_not_valid_is_one_clear_line(changes, message):
    with pytest.raises(UsageError, match=message) as refused:
        as_recipe("cnn", {"data": "glyphs", **changes})
    assert "\n" not in str(refused.value)


NOT_LOADED = {
    "of other data": (
        {"data": "digits", "glyphs.label": "case"},
        "glyphs.label has no effect on digits: it applies to the data set glyphs",
    ),
    "of tables": ({"data": "moons", "glyphs.label": "case"}, "glyphs.label has no effect on moons"),
    "of files": (
        {"data": "glyphs", "images.size": (3,)},
        r"images.size has no effect on glyphs: it applies to your own",
    ),
    "seed": ({"data": "glyphs", "split.seed": 1}, "split.seed has no effect: the parts of glyphs have given faces"),
    "argument": ({"data": "glyphs:3"}, "the data set glyphs takes no argument"),
    "too few": ({"data": "glyphs", "glyphs.examples": 3}, "the validation part would be empty"),
    "no face": (
        {"data": "glyphs", "glyphs.family": "sans", "glyphs.weight": "bold"},
        "the test part has no face of family sans and weight bold; set split.test to 0, or choose other faces",
    ),
}


@pytest.mark.parametrize(("changes", "message"), NOT_LOADED.values(), ids=NOT_LOADED)
def test_settings_that_cannot_be_used_are_one_clear_line(changes, message):
    with pytest.raises(UsageError, match=message) as refused:
        as_recipe("mlp", changes).load()
    assert "\n" not in str(refused.value)


def test_more_images_than_memory_are_refused(monkeypatch):
    monkeypatch.setattr("danlu.data.datasets.glyphs.available_memory", lambda: 10_000)
    with pytest.raises(UsageError, match="100 images need 161,600 bytes of memory, and 10,000 are available"):
        glyphs(glyphs=Glyphs(examples=100))


def test_a_missing_font_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    glyph_faces.read_outlines.cache_clear()
    with pytest.raises(RunError, match=r"glyphs needs the font file .*DejaVuSans.ttf, which matplotlib includes"):
        glyphs(glyphs=Glyphs(examples=100))


def test_a_recipe_file_keeps_the_settings():
    """Also characters that YAML takes for numbers and truth values."""
    chosen = Glyphs(examples=77, label="case", characters=("0", "1", "y", "n", "upper"), slant="italic")
    recipe = as_recipe("vae", {"data": "glyphs", "glyphs": chosen})
    assert from_text(to_yaml(recipe)).glyphs == chosen
    assert "glyphs:\n" not in to_yaml(as_recipe("vae", {"data": "digits"}))


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["cnn", "vae"])
def test_a_model_is_trained_on_it(recipe, tmp_path):
    settings = {"glyphs.examples": 200, "glyphs.characters": ("digits",), "rounds": 2}
    run = danlu.train(recipe, data="glyphs", out=tmp_path / "run", quiet=True, **settings)
    assert run.page["status"] == "finished"
    assert danlu.load(run.path).info.shape == (1, 28, 28)


def test_it_is_surveyed_and_drawn(tmp_path):
    data, survey = danlu.survey("glyphs", glyphs={"examples": 1000})
    assert survey.examples == {"train": 700, "validation": 100, "test": 200}
    assert data.notes == ("faces: 12 train, 3 validation, 6 test; no face is in two parts",)
    assert survey.problems == []
    words = [
        "data",
        "glyphs",
        "--glyphs.examples",
        "500",
        "--glyphs.label",
        "family",
        "--image",
        str(tmp_path / "a.png"),
    ]
    start(*words).ended()
    assert Image.open(tmp_path / "a.png").width > 100


def test_classes_are_those_of_the_selected_faces_and_characters():
    assert glyphs(glyphs=Glyphs(examples=60, label="weight", family="sans")).info.class_names == ("regular", "bold")
    cases = glyphs(glyphs=Glyphs(examples=60, label="case", characters=("a", "B")))
    assert cases.info.class_names == ("upper", "lower")
    with pytest.raises(UsageError, match=r"label=slant: the training part has only upright faces, and another part"):
        glyphs(glyphs=Glyphs(examples=60, label="slant", family="mono", weight="regular"))


def test_an_empty_list_of_faces_is_refused():
    with pytest.raises(UsageError, match="faces is empty"):
        draw(torch.arange(3), "test", faces=())
