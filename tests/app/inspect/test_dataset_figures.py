"""Figures of data sets with and without classes: which examples are shown, and under which name."""

import pytest
import torch

from danlu.app.inspect import dataset_figures
from danlu.app.inspect.dataset_figures import as_trained_on, draw, draw_images, draw_table, draw_waveforms
from danlu.data import Augment, DataSet, Part
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.data.text.info import TextInfo
from danlu.data.waveforms.info import WaveformInfo
from danlu.errors import UsageError


def made(info, x, label=None):
    """A data set whose examples are all for training."""
    name = info.inputs
    train = Part({name: x} if label is None else {name: x, "label": label})
    empty = train.take(slice(0, 0))
    return DataSet("made", info, train, empty, empty)


def shades(n):
    """Images of one shade each, a different one for each image."""
    return (torch.arange(n) / n)[:, None, None, None].expand(n, 1, 2, 2).contiguous()


def drawn(figure):
    """The images of a figure as (top, first value), from the top and the left."""
    images = [(image.get_extent(), float(image.get_array().flatten()[0])) for image in figure.axes[0].images]
    return [(extent[3], value) for extent, value in sorted(images, key=lambda one: (one[0][3], one[0][0]))]


def test_all_points_of_a_table_without_classes_are_drawn():
    x = torch.rand(23, 2)
    figure = draw_table(made(TableInfo((2,), columns=("a", "b")), x), None, 6)
    (dots,) = figure.axes[0].collections
    torch.testing.assert_close(torch.tensor(dots.get_offsets().tolist()).float(), x)
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("a", "b")
    assert figure.axes[0].get_legend() is None


def test_points_of_a_class_have_its_color_and_only_the_first_are_drawn(monkeypatch):
    monkeypatch.setattr(dataset_figures, "POINTS", 20)
    x, label = torch.rand(30, 2), torch.arange(30) % 3
    figure = draw_table(made(TableInfo((2,), 3, ("u", "v", "w")), x, label), None, 6)
    for number, dots in enumerate(figure.axes[0].collections):
        torch.testing.assert_close(torch.tensor(dots.get_offsets().tolist()).float(), x[:20][label[:20] == number])


@pytest.mark.parametrize("columns", [1, 3])
def test_other_tables_have_a_histogram_of_each_column(columns):
    x = torch.rand(40, columns)
    figure = draw_table(made(TableInfo((columns,)), x), None, 6)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [str(number) for number in range(columns)]
    for number, axes in enumerate(figure.axes):
        assert sum(bar.get_height() for bar in axes.patches) == len(x)
        assert axes.patches[0].get_x() == pytest.approx(float(x[:, number].min()))


def test_the_first_images_of_each_class_are_in_its_row():
    label = torch.tensor([1, 0, 1, 1, 0, 1])
    figure = draw_images(made(ImageInfo((1, 2, 2), 2, ("cat", "dog")), shades(6), label), None, 3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["cat", "dog"]
    shown = drawn(figure)
    assert [round(6 * value) for _, value in shown] == [1, 4, 0, 2, 3]
    assert len({top for top, _ in shown[:2]}) == len({top for top, _ in shown[2:]}) == 1


def test_sixty_images_without_classes_are_drawn():
    figure = draw_images(made(ImageInfo((1, 2, 2)), shades(70)), None, 3)
    assert [round(70 * value) for _, value in drawn(figure)] == list(range(60))


@pytest.mark.parametrize("classes", [(), ("cat", "dog")])
def test_with_augmentation_each_row_is_an_image_unchanged_and_augmented(classes):
    """Flips move the dark half to the other side; images without classes have no name."""
    image = torch.zeros(12, 1, 2, 2)
    image[..., 1] = 0.25 + torch.arange(12)[:, None, None] / 24
    label = torch.arange(12) % 2 if classes else None
    data = made(ImageInfo((1, 2, 2), len(classes), classes), image, label)
    axes = draw_images(data, Augment(flip="horizontal"), 6).axes[0]
    assert len(axes.images) == 10 * 6
    assert [text.get_text() for text in axes.texts] == (["cat", "dog"] * 5 if classes else [""] * 10)
    rows = as_trained_on(data.train.take(torch.arange(10)), Augment(flip="horizontal"), 5)
    assert rows.shape == (10, 6, 1, 2, 2)
    assert torch.equal(rows[:, 0], image[:10])
    unchanged, flipped = ((rows == other[:10, None]).flatten(2).all(2) for other in (image, image.flip(3)))
    assert (unchanged | flipped).all()
    assert flipped.any()
    assert unchanged[:, 1:].any()


def test_augmentation_that_is_off_changes_nothing():
    data = made(ImageInfo((1, 2, 2)), shades(5))
    assert drawn(draw_images(data, Augment(), 6)) == drawn(draw_images(data, None, 6))


def curves(figure):
    """The curves of a figure as (top, left, amplitudes), from the top and the left; a curve follows its zero line."""
    found = []
    lines = figure.axes[0].lines
    for zero, curve in zip(lines[::2], lines[1::2], strict=True):
        middle = zero.get_ydata()[0]
        heights = (middle - torch.tensor(curve.get_ydata())) / (0.55 - 0.08) * 2  # amplitudes from -1 to 1
        found.append((middle, float(zero.get_xdata()[0]), heights))
    return sorted(found, key=lambda one: one[:2])


def test_the_first_waveforms_of_each_class_are_in_its_row():
    x, label = torch.rand(17, 12).double() * 2 - 1, torch.arange(17) % 2
    figure = draw_waveforms(made(WaveformInfo((12,), 2, ("cat", "dog")), x, label), None, 3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["cat", "dog"]
    shown = curves(figure)
    assert len({top for top, _, _ in shown}) == 2
    drawn_waves = torch.stack([heights for _, _, heights in shown])
    torch.testing.assert_close(drawn_waves, x[[0, 2, 4, 6, 8, 1, 3, 5, 7, 9]])


def test_waveforms_without_classes_are_in_rows_and_amplitudes_beyond_the_range_are_cut_off():
    x = torch.rand(40, 12).double() * 3 - 1.5
    figure = draw_waveforms(made(WaveformInfo((12,)), x), None, 3)
    torch.testing.assert_close(torch.stack([heights for _, _, heights in curves(figure)]), x[:15].clamp(-1, 1))
    assert not figure.axes[0].texts


def test_text_has_no_figure(tmp_path):
    data = made(TextInfo(vocabulary=5, tokens="words"), torch.arange(9))
    with pytest.raises(UsageError, match="made: text has no figure; kinds of data with a figure: images, table"):
        draw(data, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
