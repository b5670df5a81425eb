"""The report and the card say what the run reached, look the same each time, and need nothing beside them."""

from __future__ import annotations

import copy
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from matplotlib.colors import to_rgb
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from danlu.app.console.formatting import in_short, score_name
from danlu.app.report.figures import classifier, style, training_curves
from danlu.app.report.figures.all_figures import draw
from danlu.app.report.html_report import write_report
from danlu.app.report.model_card import About, about_model, write_card
from danlu.app.report.section import Section, figure
from danlu.app.report.sections.classifier import (
    Predictions,
    classification_sections,
    most_confident_mistakes,
    per_class,
)
from danlu.data import DataInfo
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.metrics import Robustness, calibration, confusion_matrix

pytestmark = pytest.mark.figures

NAMES = ("<b>x</b>", "$\\frac$", "a|b", '"q" & url(#p)')
INFO = ImageInfo(shape=(1, 4, 4), classes=4, class_names=NAMES, range=(0.0, 1.0))
CNN = About("CNN", "convolutional network", "LeCun et al. 1998", ["classify"])
RUN: dict[str, Any] = {
    "format": 1,
    "recipe": "cnn",
    "status": "finished",
    "command": "danlu train cnn --seed 1",
    "versions": {"danlu": "0.1.0", "torch": "2.13.0+cpu", "python": "3.11.7"},
    "device": "cpu",
    "device_reason": "this build of PyTorch supports the CPU only",
    "threads": 2,
    "ranks": 1,
    "precision": "float32",
    "seed": 1,
    "data": {"name": "digits", "fingerprint": "0123456789abcdef" * 4, "train": 1258, "validation": 180, "test": 359},
    "started": "2026-11-23T14:12:03+00:00",
    "seconds": 12.3,
    "round": 786,
    "rounds": 786,
    "parameters": 52938,
    "weights": "best",
    "best": {"monitor": "accuracy", "score": 0.9944, "round": 640},
    "stopped_early": False,
}
SCORES = {
    "validation": {"accuracy": 0.9944, "cross_entropy": 0.0213},
    "test": {"accuracy": 354 / 359, "top_5": 1.0, "cross_entropy": 0.0456, "calibration_error": 0.0123},
}
METRICS = [
    {
        "round": round,
        "epoch": round / 20,
        "classifier/cross_entropy": 3 * 0.9**round,
        "classifier/gradient_norm": 1.0 + 0.01 * round,
        "classifier/lr": 10.0**-round,
        **({"validation/accuracy": 0.5, "validation/cross_entropy": 2 * 0.95**round} if round % 10 == 0 else {}),
    }
    for round in range(1, 51)
]


class Page(HTMLParser):
    """Reads a page and keeps its elements and its text; fails where an element is not closed, or not open."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open and self.open[-1] == "style" else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def some_guesses(n: int = 60, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities, and labels that agree with the guess in about two cases of three."""
    probabilities = (2 * torch.randn(n, classes)).softmax(dim=1)
    labels = torch.where(torch.rand(n) < 0.6, probabilities.argmax(dim=1), torch.randint(0, classes, (n,)))
    return probabilities, labels


def some_sections() -> list[Section]:
    probabilities, labels = some_guesses()
    return classification_sections(
        Predictions("test", probabilities.log(), labels, torch.rand(len(labels), 1, 4, 4)), INFO
    )


def report(folder: Path, sections: list[Section], run: dict[str, Any] = RUN, **changes: Any) -> str:
    given = {"recipe_yaml": "recipe: cnn\nlr: 0.003\n", "metrics": METRICS, "scores": SCORES, **changes}
    write_report(folder / "report.html", run, sections=sections, **given)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    torch.manual_seed(0)
    return Page(report(tmp_path_factory.mktemp("report"), some_sections()))


def test_report_needs_nothing_beside_it(page: Page):
    assert not page.tags() & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                assert (value or "").startswith(("#", "data:image/png;base64,")), (tag, name, value)
            if name not in ("aria-label", "content"):
                assert all(place.startswith("#") for place in re.findall(r"url\((.*?)\)", value or "")), (tag, name)
    for rules in page.styles:
        assert "url(" not in rules
        assert "@import" not in rules


def test_report_forbids_the_browser_to_load_anything(page: Page):
    policy = next(meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy


def test_ids_of_a_page_with_several_figures_are_unique_and_found(page: Page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(page.of("svg")) == 4  # curves, confusion, calibration, most wrong
    assert len(ids) == len(set(ids)) > 0
    values = [v or "" for _, attributes in page.elements for name, v in attributes.items() if name != "aria-label"]
    references = {reference for v in values for reference in re.findall(r"url\(#(.*?)\)|^#(.+)$", v)}
    assert {a or b for a, b in references} == set(ids)


def test_the_same_figure_twice_shares_no_id(tmp_path: Path):
    one = Section("one", "caption", figure("curves", metrics=METRICS, best_round=30))
    two = Section("two", "caption", figure("curves", metrics=METRICS, best_round=30))
    page = Page(report(tmp_path, [one, two]))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0


def test_the_same_run_gives_the_same_report(tmp_path: Path):
    torch.manual_seed(5)
    first = report(tmp_path, some_sections())
    torch.manual_seed(5)
    assert report(tmp_path, some_sections()) == first


@pytest.mark.parametrize(
    "words",
    [
        "cnn on digits",
        "0.9944",
        "0.0213",
        "0.9861",
        "354 of 359",
        "359 of 359",
        "0.0456",
        "0.0123",
        "test part · 359 examples",
        "validation part · 180 examples",
        "danlu train cnn --seed 1",
        "52,938 parameters",
        "those of round 640, the best by validation accuracy (0.9944)",
        "0123456789abcdef" * 4,
        "2.13.0+cpu",
        "this build of PyTorch supports the CPU only",
        "2026-11-23 14:12 UTC",
        "12s",
        "lr: 0.003",
    ],
)
def test_report_says(page: Page, words: str):
    assert words in page.text


def test_hostile_names_are_text_and_nothing_else(page: Page):
    assert "b" not in page.tags()
    for name in NAMES:
        assert page.words.count(name) >= 3  # both sides of the confusion matrix, and the table


def test_report_can_be_read_without_seeing_it(page: Page):
    assert page.of("html")[0]["lang"] == "en"
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.of("svg"))
    assert all(th.get("scope") in ("col", "row") for th in page.of("th"))
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


@pytest.mark.parametrize("missing", [*RUN, "data.name", "data.fingerprint", "data.test", "best.score"])
def test_report_and_card_do_without_any_key(tmp_path: Path, missing: str):
    run = copy.deepcopy(RUN)
    *outer, key = missing.split(".")
    del (run[outer[0]] if outer else run)[key]
    text = Page(report(tmp_path, [], run=run, metrics=[])).text
    write_card(tmp_path / "card.md", run, SCORES, INFO, CNN)
    for words in (text, (tmp_path / "card.md").read_text()):
        assert "0.0123" in words
        assert "None" not in words
        assert "{" not in words


def test_report_and_card_of_almost_nothing(tmp_path: Path):
    assert "a model" in Page(report(tmp_path, [], run={}, metrics=[], scores={}, recipe_yaml="")).text
    write_card(tmp_path / "card.md", {}, {}, TableInfo((3,)), About("MLP", "perceptron", "Rosenblatt", []))
    assert "(n, 3)" in (tmp_path / "card.md").read_text()


def test_the_card_tells_the_parameters_of_the_model_from_those_of_all_trained_networks(tmp_path: Path):
    generator, card = torch.nn.Linear(4, 3), tmp_path / "card.md"
    about = about_model(generator, "gan")  # type: ignore[arg-type]
    assert about.parameters == 4 * 3 + 3
    write_card(card, {"parameters": 1234}, {}, TableInfo((3,)), about)
    assert "with 15 parameters (1,234 with the networks that are used in training only)." in card.read_text()
    write_card(card, {"parameters": 15}, {}, TableInfo((3,)), about)
    assert "with 15 parameters." in card.read_text()


def test_a_run_without_a_best_round(tmp_path: Path):
    run = {**RUN, "weights": "last", "best": None}
    assert "those of the last round, 786" in Page(report(tmp_path, [], run=run)).text


def test_an_unfinished_run_says_so_first(tmp_path: Path):
    run = {**RUN, "status": "failed", "round": 200, "error": "the term <x> is not finite"}
    text = Page(report(tmp_path, [], run=run)).text
    assert "not finished: its status is “failed” after round 200 of 786" in text
    assert "the term <x> is not finite" in text
    assert "not finished" not in Page(report(tmp_path, [], run=RUN)).text


def test_an_early_stop_is_told(tmp_path: Path):
    run = {**RUN, "stopped_early": True, "round": 700}
    assert "700 rounds of 786, stopped early" in Page(report(tmp_path, [], run=run)).text


def test_test_scores_come_first(page: Page):
    assert page.text.index("test part · 359") < page.text.index("validation part · 180")


def test_examples_without_a_prediction_are_counted_and_left_out():
    """The sections are those of the other examples; a row of NaN would be counted as class 0."""
    probabilities, labels = some_guesses()
    log_probs, images = probabilities.log(), torch.rand(len(labels), 1, 4, 4)
    damaged = log_probs.clone()
    damaged[3, 1], damaged[7] = math.nan, -math.inf
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[[3, 7]] = False
    ours = classification_sections(Predictions("test", damaged, labels, images), INFO)
    others = classification_sections(Predictions("test", log_probs[kept], labels[kept], images[kept]), INFO)
    for our, other in zip(ours, others, strict=True):
        assert (our.title, our.table) == (other.title, other.table)
        assert (our.figure is None) == (other.figure is None)
        if our.figure is not None and other.figure is not None:
            assert style.to_svg(draw(our.figure), "x", "") == style.to_svg(draw(other.figure), "x", "")
    assert "over the 58 examples of the test part" in ours[0].caption
    assert ours[0].caption.endswith(" 2 examples with outputs that are not finite are left out.")


def test_per_class_equals_scikit_learn():
    labels, guesses = torch.randint(0, 4, (200,)), torch.randint(0, 3, (200,))  # nobody guesses class 3
    labels[labels == 1] = 2  # and class 1 does not exist
    header, *rows = per_class(confusion_matrix(guesses, labels, 4), "wxyz")
    expected: Any = precision_recall_fscore_support(labels, guesses, labels=range(4), zero_division=np.nan)  # type: ignore[arg-type]
    assert header == ("class", "examples", "precision", "recall", "F1")
    for row, name, *values, examples in zip(rows, "wxyz", *expected, strict=True):
        assert row[:2] == (name, str(examples))
        for cell, value in zip(row[2:], values, strict=True):
            assert cell == "–" if math.isnan(value) else float(cell) == pytest.approx(value, abs=5.01e-4)
    assert rows[3][2] == rows[1][3] == "–"


@pytest.mark.parametrize("most", [3, 1000])
def test_most_confident_mistakes_equal_a_loop(most: int):
    probabilities, labels = some_guesses(n=100)
    rows, answers = probabilities.tolist(), labels.tolist()
    mistakes = [n for n, row in enumerate(rows) if row.index(max(row)) != answers[n]]
    mistakes.sort(key=lambda n: max(rows[n]), reverse=True)
    chosen, wrong = most_confident_mistakes(probabilities, labels, most)
    assert wrong
    assert chosen.tolist() == mistakes[:most]


def test_calibration_is_drawn_before_and_after_the_temperature():
    probabilities, labels = some_guesses(n=300)
    judged = Predictions("test", probabilities.log(), labels, temperature=2.0)
    section = classification_sections(judged, INFO)[2]
    assert "The temperature 2 was fitted on" in section.caption
    upper = draw(section.figure).axes[0]  # type: ignore[union-attr]
    after = calibration((probabilities.double().log() / 2).softmax(1), labels)
    assert f"{after.error:.4f} with temperature" in upper.get_title(loc="left")
    np.testing.assert_allclose(upper.lines[2].get_ydata(), after.accuracy.numpy())


def test_robustness_is_a_section_where_it_was_measured():
    probabilities, labels = some_guesses()
    shifted, noisy = Robustness((0.0, 1.0), (0.9, 0.5)), Robustness((0.0, 0.2), (0.9, 0.7))
    judged = Predictions("test", probabilities.log(), labels, shifted=shifted, noisy=noisy, perturbed=60)
    section = classification_sections(judged, INFO)[-1]
    assert (section.title, "60 images" in section.caption) == ("Robustness", True)
    drawn = [line.get_ydata().tolist() for axes in draw(section.figure).axes for line in axes.lines]  # type: ignore[union-attr]
    assert drawn == [[0.9, 0.5], [0.9, 0.7]]


def test_without_mistakes_the_least_sure_are_shown():
    probabilities, _ = some_guesses(n=50)
    labels = probabilities.argmax(dim=1)
    expected = sorted(range(50), key=lambda n: max(probabilities[n].tolist()))[:24]
    chosen, wrong = most_confident_mistakes(probabilities, labels)
    assert not wrong
    assert chosen.tolist() == expected
    section = classification_sections(Predictions("test", probabilities.log(), labels, torch.rand(50, 1, 4, 4)), INFO)[
        -1
    ]
    assert "All examples of the test part are classified correctly" in section.caption


def test_sections_show_the_surest_mistake_first():
    probabilities = torch.tensor([[0.7, 0.3], [0.9, 0.1], [0.2, 0.8]])
    labels, images = torch.tensor([1, 1, 1]), torch.rand(3, 3, 4, 6)
    info = ImageInfo((3, 4, 6), 2, ("cat", "dog"))
    section = classification_sections(Predictions("test", probabilities.log(), labels, images), info)[-1]
    assert "2 of the 3 examples of the test part are misclassified; all of them" in section.caption
    axes = draw(section.figure).axes[0]  # type: ignore[union-attr]
    assert [text.get_text() for text in axes.texts] == ["dog → cat 0.90", "dog → cat 0.70"]
    for shown, text, image in zip(axes.images, axes.texts, images[[1, 0]], strict=True):
        np.testing.assert_allclose(shown.get_array(), image.permute(1, 2, 0).numpy())
        left, right, bottom, top = shown.get_extent()
        assert text.get_position()[0] == left < right  # each title is above its own image
        assert text.get_position()[1] < top < bottom


def test_sections_without_pictures():
    probabilities, labels = some_guesses()
    titles = [s.title for s in classification_sections(Predictions("test", probabilities.log(), labels, None), INFO)]
    four_channels = torch.rand(len(labels), 4, 4, 4)
    assert titles == [
        s.title for s in classification_sections(Predictions("test", probabilities.log(), labels, four_channels), INFO)
    ]
    assert titles == ["Confusion matrix", "Scores per class", "Calibration"]


@pytest.mark.parametrize("n", [1, 24, 30])
def test_most_wrong_maps_the_value_range_to_black_and_white(n: int):
    images = 2 * torch.rand(n, 1, 5, 5) - 1
    zeros = torch.zeros(n, dtype=torch.long)
    figure = classifier.most_wrong(images, zeros, zeros, torch.ones(n), ("only",), value_range=(-1, 1))
    shown = figure.axes[0].images
    assert len(shown) == min(n, 24)
    for picture, image in zip(shown, images, strict=False):
        np.testing.assert_allclose(picture.get_array(), (image[0].numpy() + 1) / 2, atol=1e-6)
        assert picture.get_clim() == (0, 1)


def test_most_wrong_refuses_two_channels():
    zeros = torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        classifier.most_wrong(torch.rand(1, 2, 5, 5), zeros, zeros, torch.ones(1), ("only",))


def panels(figure: Any) -> dict[str, Any]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def lines(axes: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_curves_put_one_name_into_one_panel():
    found = panels(training_curves.curves(METRICS, best_round=None))
    assert list(found) == ["cross-entropy", "accuracy", "gradient norm", "learning rate"]
    assert list(lines(found["cross-entropy"])) == ["training", "validation"]
    assert list(lines(found["accuracy"])) == ["validation"]
    rounds, values = lines(found["cross-entropy"])["validation"]
    assert rounds == [10, 20, 30, 40, 50]
    assert values == [entry["validation/cross_entropy"] for entry in METRICS if "validation/cross_entropy" in entry]


def test_curves_name_the_players_where_there_are_several():
    entry = {"round": 1, "critic/loss": 1.0, "generator/loss": 2.0, "critic/penalty": 3.0, "validation/fid": 4.0}
    found = panels(training_curves.curves([entry, {**entry, "round": 2}], None))
    assert {name: list(lines(axes)) for name, axes in found.items()} == {
        "loss": ["critic", "generator"],
        "penalty": ["critic"],
        "fid": ["validation"],
    }


@pytest.mark.parametrize(
    "name", ["log_prob", "dequantized_log_prob_given_label", "elbo", "bits_per_dimension", "top_5"]
)
def test_curves_have_the_names_of_scores(name: str):
    """One term for a score in the table of scores, in the lines of the log and above its curve."""
    entry = {"round": 1, f"validation/{name}": 0.5}
    (title,) = panels(training_curves.curves([entry, {**entry, "round": 2}], None))
    assert " ".join(title.split()) == score_name(name) in in_short(entry)


def test_curves_mark_the_best_round_in_every_panel():
    for axes in training_curves.curves(METRICS, best_round=30).axes:
        assert lines(axes)["best: round 30"][0] == [30, 30]
    for axes in training_curves.curves(METRICS, best_round=None).axes:
        assert not any(label.startswith("best") for label in lines(axes))


@pytest.mark.parametrize(
    ("name", "values", "scale"),
    [
        ("net/loss", [1.0, 31.0], "linear"),  # 10^1.5 is 31.6
        ("net/loss", [1.0, 32.0], "log"),
        ("net/gradient_norm", [1e-3, 1.0], "log"),
        ("net/loss", [0.0, 100.0], "linear"),
        ("net/loss", [-1.0, 100.0], "linear"),
        ("net/loss", [1.0, math.nan, 100.0], "log"),
        ("net/lr", [1e-6, 1.0], "linear"),
        ("validation/accuracy", [0.01, 1.0], "linear"),
    ],
)
def test_scale_of_a_panel(name: str, values: list[float], scale: str):
    figure = training_curves.curves([{"round": n, name: value} for n, value in enumerate(values)], None)
    assert figure.axes[0].get_yscale() == scale


def test_validation_counts_for_the_scale_of_a_shared_panel():
    entries = [{"round": 0, "net/loss": 1.0}, {"round": 1, "validation/loss": 100.0}]
    assert training_curves.curves(entries, None).axes[0].get_yscale() == "log"


@pytest.mark.parametrize("metrics", [[], [{"round": 1}], [{"round": 1, "net/loss": math.nan}]])
def test_curves_of_nothing(metrics: list[dict[str, float]]):
    figure = training_curves.curves(metrics, None)
    assert figure.axes == []
    assert "nothing was logged" in style.to_svg(figure, "name", "label")


def test_confusion_writes_the_counts_where_they_belong():
    matrix = torch.randint(0, 30, (5, 5))
    matrix[2, 3] = 0
    axes = classifier.confusion(matrix, "abcde").axes[0]
    written = {tuple(map(int, text.get_position())): int(text.get_text()) for text in axes.texts}
    assert written == {(k, j): int(matrix[j, k]) for j in range(5) for k in range(5) if matrix[j, k]}
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true class", "predicted class")
    assert axes.yaxis_inverted()  # the first class is on top, as in the matrix


@pytest.mark.parametrize(("classes", "written"), [(20, True), (21, False), (60, False)])
def test_confusion_writes_up_to_twenty_classes(classes: int, written: bool):
    figure = classifier.confusion(torch.ones(classes, classes).long(), [str(k) for k in range(classes)])
    assert len(figure.axes[0].texts) == classes**2 * written
    assert style.to_svg(figure, "name", "label")


def test_confusion_colors_the_fraction_of_the_row():
    figure = classifier.confusion(torch.tensor([[1, 1, 0], [100, 100, 0], [0, 0, 0]]), "abc")
    pixels = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(pixels[0, 0], pixels[1, 1])
    np.testing.assert_allclose(pixels[0, 1], pixels[1, 0])
    np.testing.assert_allclose(pixels[2, 2], pixels[0, 2])  # a class without examples is blank
    assert not np.allclose(pixels[0, 0], pixels[0, 1])


def luminance(color: Any) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("right", range(0, 101, 10))
def test_every_count_can_be_read_on_its_cell(right: int):
    axes = classifier.confusion(torch.tensor([[right, 100 - right], [100 - right, right]]), "ab").axes[0]
    pixels = np.asarray(axes.images[0].get_array())
    for text in axes.texts:
        column, row = map(int, text.get_position())
        dark, light = sorted([luminance(text.get_color()), luminance(pixels[row, column, :3])])
        assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG 2.1's least contrast for graphics and large text


def test_reliability_shows_every_bin():
    probabilities, labels = some_guesses(n=300)
    measured = calibration(probabilities, labels, bins=10)
    upper, lower = classifier.reliability(measured).axes
    assert f"{measured.error:.4f}" in upper.get_title(loc="left")
    sure, guess = probabilities.double().max(dim=1)
    points = dict(zip(*upper.lines[1].get_data(), strict=True))
    bars = [bar.get_height() for bar in lower.patches]
    for b in range(10):
        inside = (sure > b / 10) & (sure <= (b + 1) / 10)
        assert bars[b] == inside.sum()
        if inside.any():
            x, y = float(sure[inside].mean()), float((guess == labels)[inside].double().mean())
            assert any(abs(x - px) < 1e-9 and abs(y - py) < 1e-9 for px, py in points.items())
    assert len(points) == sum(height > 0 for height in bars)


def test_intervals_of_the_reliability_equal_scipy():
    cases = [(0, 1), (1, 1), (3, 10), (40, 41), (500, 1000)]
    hits, n = (np.array(column, dtype=float) for column in zip(*cases, strict=True))
    low, high = classifier._wilson(hits / n, n)
    for place, (k, of) in enumerate(cases):
        interval = binomtest(k, of).proportion_ci(0.95, method="wilson")
        assert (low[place], high[place]) == pytest.approx((interval.low, interval.high), abs=1e-4)


def test_figures_leave_no_style_behind():
    before = dict(matplotlib.rcParams)
    style.to_svg(training_curves.curves(METRICS, 30), "name", "label")
    some_sections()
    assert dict(matplotlib.rcParams) == before


def card(folder: Path, run: dict[str, Any] = RUN, info: DataInfo = INFO, verbs: tuple[str, ...] = ("classify",)) -> str:
    write_card(folder / "card.md", run, SCORES, info, CNN._replace(verbs=list(verbs)))
    return (folder / "card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "those of round 640, the best by validation accuracy (0.9944)"),
        ({"weights": "average"}, "the running average of round 786"),
        ({"weights": "last", "best": None}, "those of the last round, 786"),
        ({"weights": "best", "best": None}, "the best on the validation part"),
    ],
)
def test_card_says_which_weights_these_are(tmp_path: Path, changes: dict[str, Any], words: str):
    assert words in card(tmp_path, {**RUN, **changes})


def test_a_report_explains_its_scores_and_lists_its_sections(tmp_path: Path):
    sections = [Section("First", "What it shows."), Section("Second", "What it shows.")]
    scores = {"test": {"mae": 1.5, "unheard_of": 2.0}, "validation": {"mae": 1.0}}
    write_report(tmp_path / "report.html", {}, "a: 1", [], scores, sections)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for number, title in enumerate(("First", "Second"), start=1):
        assert f'<a href="#section-{number}">{title}</a>' in text
        assert f'<h2 id="section-{number}">{title}</h2>' in text
    assert text.count("lower is better") == 2
    assert text.count("The mean distance between prediction and value, in its unit.") == 1
    assert "unheard of" in text


def test_card_reads_as_markdown(tmp_path: Path):
    page = Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(card(tmp_path)))
    assert "b" not in page.tags()
    assert "x</b>, $\\frac$, a|b," in page.text
    assert len(page.of("td")) == 4 * 6  # six scores, each with part, examples, name and value
    for words in (
        "0.9861 (354 of 359, higher is better)",
        "0.0123",
        "359",
        "1,258 train",
        "Seed: 1",
        "0123456789abcdef" * 4,
    ):
        assert words in page.text
    for words in (
        "danlu classify RUN FILES…",
        'danlu.load("RUN")',
        "danlu train cnn --seed 1",
        "CNN",
        "LeCun et al. 1998",
    ):
        assert words in page.text
    for words in (
        "(n, 1, 4, 4)",
        "values from 0 to 1",
        "1 channel",
        "4 classes",
        "predicts class probabilities",
        "not calibrated",
    ):
        assert words in page.text


def test_card_cuts_a_long_list_of_classes(tmp_path: Path):
    info = ImageInfo((3, 8, 8), 1000, tuple(f"kind-{k}" for k in range(1000)))
    text = card(tmp_path, info=info)
    assert "kind-49, and 950 more" in text
    assert "kind-50" not in text


def test_card_of_a_model_that_does_not_classify(tmp_path: Path):
    text = card(tmp_path, info=ImageInfo((1, 8, 8)), verbs=("sample", "log_prob"))
    assert "danlu classify" not in text
    assert "The model draws examples." in text
    assert "classes" not in text
