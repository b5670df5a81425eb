"""Augmentation: what happens to a picture depends on seed, epoch and number alone, and is what the page says.

A test of a distribution fails by chance with probability 1e-6.
"""

import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage, stats

from danlu.data import Augment, Augmented, Part, Shuffled, Stream, augment, warp
from danlu.data.images.augment import mix, partners
from danlu.data.images.warp import move
from danlu.errors import UsageError

CHANCE = 1e-6
EXACT = [
    {"flip": "both"},
    {"flip": "alternating", "crop": 1},
    {"flip": "horizontal", "crop": 2, "pad_mode": "reflect"},
    {"flip": "vertical", "erase": 0.3},
]
ROUNDED = [
    {"rotate": 30.0, "flip": "both", "crop": 1},
    {"scale": (0.7, 1.4), "translate": 0.2, "pad_mode": "reflect"},
    {"noise": 0.2},
    {"mixup": 0.4, "flip": "horizontal"},
    {"cutmix": 1.0, "crop": 2},
    {"mixup": 0.4, "rotate": 10.0, "erase": 0.2, "noise": 0.1, "flip": "alternating"},
]


def part_of(n, shape=(2, 6, 5)):
    generator = torch.Generator().manual_seed(n)
    return Part({"image": torch.rand(n, *shape, generator=generator), "label": torch.arange(n) % 3})


def make_stream(page, n=7, batch_size=5, seed=0):
    return Augmented(Shuffled(part_of(n), batch_size, seed), Augment(**page), seed)


def whole(stream, position):
    return stream.batch(position, slice(0, stream.size))


def same(page, ours, theirs):
    """Equal; up to rounding where it is computed with fractions."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        if page in EXACT:
            assert torch.equal(ours[name], theirs[name]), name
        else:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-6, msg=name)


def seen(stream, epochs):
    """Every example in every epoch: its fields by (epoch, number), counted as it comes."""
    found, times = {}, {}
    for position in range(math.ceil(epochs * stream.epoch_rounds)):
        batch = whole(stream, position)
        for row, number in enumerate(batch.numbers.tolist()):
            epoch = times[number] = times.get(number, -1) + 1
            found[epoch, number] = {name: values[row] for name, values in batch.fields.items()}
    return {place: fields for place, fields in found.items() if place[0] < epochs}


def alike(n, shape=(1, 8, 8), value=None):
    """The same picture many times, with the numbers 0 to n - 1 and epoch 0."""
    picture = torch.rand(shape) if value is None else torch.full(shape, value)
    return picture.expand(n, *shape), torch.arange(n), torch.zeros(n, dtype=torch.long)


def numbers_like(n, **value):
    """Arguments of ``warp`` that change nothing, but for those that are given."""
    usual = {"mirror": (1.0, 1.0), "turn": (0.0,), "zoom": (1.0,), "shift": (0.0, 0.0)}
    return {name: torch.tensor([numbers] * n, dtype=torch.float64) for name, numbers in (usual | value).items()}


# what a change depends on


@pytest.mark.parametrize("page", EXACT + ROUNDED, ids=str)
@pytest.mark.parametrize("cuts", [(0, 2, 5), (0, 1, 2, 3, 4, 5)])
def test_slices_of_a_batch_are_its_rows(page, cuts):
    """Of ranks and of micro-batches; over several epochs, so also where one ends within a slice."""
    stream = make_stream(page)
    for position in range(9):
        batch = whole(stream, position)
        pieces = [stream.batch(position, slice(a, b)) for a, b in pairwise(cuts)]
        assert torch.equal(torch.cat([piece.numbers for piece in pieces]), batch.numbers)
        assert [(piece.rows, piece.size) for piece in pieces] == [(slice(a, b), 5) for a, b in pairwise(cuts)]
        same(page, {name: torch.cat([piece[name] for piece in pieces]) for name in batch.fields}, batch.fields)


@pytest.mark.parametrize("page", EXACT + ROUNDED, ids=str)
def test_batches_of_another_size_change_an_example_alike(page):
    """Each epoch and example has its own change, wherever in whatever batch it comes."""
    expected = seen(make_stream(page, batch_size=5), epochs=4)
    for batch_size in (1, 3, 7):
        found = seen(make_stream(page, batch_size=batch_size), epochs=4)
        assert found.keys() == expected.keys()
        for place, fields in expected.items():
            same(page, found[place], fields)


@pytest.mark.parametrize("page", EXACT + ROUNDED, ids=str)
def test_a_position_replayed_alone_is_the_same(page):
    one = make_stream(page, seed=4)
    going_on = [whole(one, position) for position in range(8)]
    for position in (7, 0, 3):
        same(page, whole(make_stream(page, seed=4), position).fields, going_on[position].fields)


@pytest.mark.parametrize(
    "page",
    [{"rotate": 90.0}, {"scale": (0.5, 2.0)}, {"translate": 0.5}, {"noise": 0.1}, {"rotate": 9.0, "flip": "both"}],
    ids=str,
)
def test_each_number_epoch_and_seed_has_its_own_change(page):
    images, numbers, _ = alike(10)
    changed = [
        augment(images, numbers, torch.full_like(numbers, epoch), seed, Augment(**page))
        for epoch, seed in product((0, 1, 2, 1 << 20), (0, 1, 2))
    ]
    assert len({picture.numpy().tobytes() for picture in torch.cat(changed)}) == 10 * 4 * 3


def test_changes_of_neighbors_are_independent():
    """The seven shifts of neighboring numbers, and of one number in neighboring epochs: all 49 pairs come alike."""
    n, page = 20_000, Augment(crop=3)
    images = torch.arange(7.0).expand(n, 1, 7, 7)
    first, second = (
        augment(images, torch.arange(n), torch.full((n,), epoch), 0, page)[:, 0, 3, 3].long() for epoch in (4, 5)
    )
    for a, b in ((first[:-1], first[1:]), (first, second)):
        assert stats.chisquare(torch.bincount(a * 7 + b, minlength=49).numpy()).pvalue > CHANCE


@pytest.mark.parametrize("page", EXACT + ROUNDED, ids=str)
def test_a_change_leaves_what_it_was_given_alone(page):
    part = part_of(7)
    before = {name: values.clone() for name, values in part.fields.items()}
    stream = Augmented(Shuffled(part, 7), Augment(**page))
    batch, plain = whole(stream, 2), whole(stream.stream, 2)
    assert all(torch.equal(part.fields[name], values) for name, values in before.items())
    assert torch.equal(batch["label"], plain["label"])
    assert torch.equal(batch.numbers, plain.numbers)
    assert not torch.equal(batch["image"], plain["image"])


# mirroring and shifting by whole pixels


def by_numpy(image, mirrored, shift, pad_mode):
    """Mirrored with numpy, and cut out of what numpy has padded."""
    across, down = shift
    flipped = image[..., :: -1 if mirrored[1] else 1, :: -1 if mirrored[0] else 1]
    pad = max(abs(across), abs(down))
    padded = np.pad(flipped, [(0, 0), (pad, pad), (pad, pad)], mode={"zeros": "constant"}.get(pad_mode, pad_mode))
    top, left = pad - down, pad - across
    return padded[:, top : top + image.shape[1], left : left + image.shape[2]]


@pytest.mark.parametrize("pad_mode", ["zeros", "reflect"])
def test_move_is_numpys_indexing(pad_mode):
    cases = [
        (mirrored, shift)
        for mirrored in product((False, True), repeat=2)
        for shift in product(range(-4, 5), range(-4, 5))
    ]
    images = torch.rand(len(cases), 3, 6, 5)
    moved = move(images, torch.tensor([m for m, _ in cases]), torch.tensor([s for _, s in cases]), pad_mode)
    for image, result, (mirrored, shift) in zip(images.numpy(), moved.numpy(), cases, strict=True):
        assert np.array_equal(result, by_numpy(image, mirrored, shift, pad_mode)), (mirrored, shift)


@pytest.mark.parametrize("pad_mode", ["zeros", "reflect"])
def test_every_crop_and_flip_comes_equally_often(pad_mode):
    """Each of 4·25 outcomes, as numpy makes them."""
    n, image = 20_000, torch.rand(1, 7, 8)
    outcomes = {
        by_numpy(image.numpy(), mirrored, shift, pad_mode).tobytes(): 0
        for mirrored in product((False, True), repeat=2)
        for shift in product(range(-2, 3), range(-2, 3))
    }
    page = Augment(flip="both", crop=2, pad_mode=pad_mode)
    for picture in augment(image.expand(n, -1, -1, -1), torch.arange(n), torch.zeros(n).long(), 0, page):
        outcomes[picture.numpy().tobytes()] += 1
    assert len(outcomes) == 100
    assert stats.chisquare(list(outcomes.values())).pvalue > CHANCE


@pytest.mark.parametrize(("flip", "dim"), [("horizontal", 3), ("vertical", 2)])
def test_half_of_the_pictures_are_mirrored(flip, dim):
    images, numbers, epochs = alike(4000, (3, 4, 5))
    changed = augment(images, numbers, epochs, 0, Augment(flip=flip))
    mirrored = (changed == images.flip(dim)).all((1, 2, 3))
    assert ((changed == images).all((1, 2, 3)) ^ mirrored).all()
    assert stats.binomtest(int(mirrored.sum()), 4000).pvalue > CHANCE


def test_alternating_mirrors_each_picture_in_every_other_epoch():
    n = 4000
    images, numbers, epochs = alike(n, (1, 2, 3))
    mirrored = torch.stack(
        [
            (augment(images, numbers, epochs + epoch, 3, Augment(flip="alternating")) == images.flip(3)).all((1, 2, 3))
            for epoch in range(6)
        ]
    )
    assert (mirrored[1:] ^ mirrored[:-1]).all()
    assert stats.binomtest(int(mirrored[0].sum()), n).pvalue > CHANCE  # half begin mirrored


def test_over_two_epochs_of_a_stream_each_picture_is_seen_as_it_is_and_mirrored():
    part = part_of(7)
    found = seen(Augmented(Shuffled(part, 5), Augment(flip="alternating")), epochs=6)
    for first, number in product(range(5), range(7)):
        image = part["image"][number]
        views = [found[epoch, number]["image"] for epoch in (first, first + 1)]
        as_it_is = [torch.equal(view, image) for view in views]
        assert sorted(as_it_is) == [False, True]
        assert torch.equal(views[as_it_is.index(False)], image.flip(2))


# turning, zooming and shifting by fractions of a pixel


@pytest.mark.parametrize("pad_mode", ["zeros", "reflect"])
def test_a_warp_that_changes_nothing_is_the_identity(pad_mode):
    images = torch.rand(4, 2, 28, 28)
    rounding = 2 * 28 * 2.0**-23  # of a place, which goes from -1 to 1 and is then counted in pixels
    still = {name: values.float() for name, values in numbers_like(4).items()}
    torch.testing.assert_close(warp(images, **still, pad_mode=pad_mode), images, rtol=0, atol=rounding)
    exact = warp(images.double(), **numbers_like(4), pad_mode=pad_mode)
    torch.testing.assert_close(exact, images.double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [5, 6])
@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_right_angles_are_torchs_rot90(side, quarters):
    images = torch.rand(3, 2, side, side, dtype=torch.float64)
    turned = warp(images, **numbers_like(3, turn=(quarters * math.pi / 2,)))
    torch.testing.assert_close(turned, torch.rot90(images, quarters, (2, 3)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pad_mode", ["zeros", "reflect"])
@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (0, -3), (-1, 2), (3, 4)])
@pytest.mark.parametrize("mirror", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_a_warp_by_whole_pixels_is_a_move(pad_mode, shift, mirror):
    """Also of pictures that are no squares."""
    images = torch.rand(2, 2, 6, 5, dtype=torch.float64)
    moved = move(images, torch.tensor([mirror] * 2) < 0, torch.tensor([shift] * 2), pad_mode)
    warped = warp(images, **numbers_like(2, shift=shift, mirror=mirror), pad_mode=pad_mode)
    torch.testing.assert_close(warped, moved, rtol=0, atol=1e-12)


def test_whole_pixels_are_rolled_and_zeros_follow():
    images = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    expected = images.roll((1, 2), (2, 3))
    expected[:, :, :1], expected[:, :, :, :2] = 0, 0
    warped = warp(images, **numbers_like(2, shift=(2, 1)))
    torch.testing.assert_close(warped, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("pad_mode", "theirs"), [("zeros", "grid-constant"), ("reflect", "mirror")])
@pytest.mark.parametrize("size", [(9, 9), (7, 10), (10, 7)])
def test_a_warp_is_scipys_affine_transform(pad_mode, theirs, size):
    """With a map built for scipy from matrices of (down, across): output to input, about the middle."""
    generator = np.random.default_rng(0)
    middle = (np.array(size) - 1) / 2
    for _ in range(10):
        turn, zoom = generator.uniform(-math.pi, math.pi), generator.uniform(0.6, 1.7)
        mirror, (across, down) = generator.choice([-1.0, 1.0], 2), generator.uniform(-3, 3, 2)
        image = generator.random(size)
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])  # y down: clockwise
        forward = zoom * rotation @ np.diag(mirror[::-1])
        backward = np.linalg.inv(forward)
        offset = middle - backward @ (middle + np.array([down, across]))
        expected = ndimage.affine_transform(image, backward, offset, order=1, mode=theirs)
        change = numbers_like(1, turn=(turn,), zoom=(zoom,), mirror=tuple(mirror), shift=(across, down))
        ours = warp(torch.from_numpy(image)[None, None], **change, pad_mode=pad_mode)
        np.testing.assert_allclose(ours[0, 0].numpy(), expected, rtol=0, atol=1e-10)


def test_the_angle_is_even_up_to_the_largest():
    """A small bright square off the middle says by how much its picture is turned."""
    n, side, degrees = 5000, 65, 40
    images = torch.zeros(1, 1, side, side)
    images[:, :, 31:34, 55:58] = 1
    changed = augment(images.expand(n, -1, -1, -1), *alike(n)[1:], 0, Augment(rotate=degrees))
    places = torch.arange(side) - 32.0
    right = (changed.sum(2).squeeze(1) * places).sum(1)
    up = -(changed.sum(3).squeeze(1) * places).sum(1)
    angle = torch.rad2deg(torch.atan2(up, right))
    assert stats.kstest(angle.numpy(), stats.uniform(-degrees, 2 * degrees).cdf).pvalue > CHANCE


def test_zoom_and_shift_are_even_between_their_bounds():
    """The mass of a bright blob grows with the square of the zoom, and its middle is the shift."""
    n, sides = 3000, (41, 61)
    y, x = (torch.arange(side) - (side - 1) / 2 for side in sides)
    blob = torch.exp(-(y[:, None] ** 2 + x**2) / 18).expand(n, 1, *sides)
    zoomed = augment(blob, *alike(n)[1:], 0, Augment(scale=(0.8, 1.3)))
    zoom = (zoomed.sum((1, 2, 3)) / blob[0].sum()).sqrt()
    assert stats.kstest(zoom.numpy(), stats.uniform(0.8, 0.5).cdf).pvalue > CHANCE
    shifted = augment(blob, *alike(n)[1:], 0, Augment(translate=0.1)).squeeze(1)
    for place, other in ((y, 2), (x, 1)):
        shift = (shifted.sum(other) * place).sum(1) / shifted.sum((1, 2)) / len(place)
        assert stats.kstest(shift.numpy(), stats.uniform(-0.1, 0.2).cdf).pvalue > CHANCE


@pytest.mark.parametrize("pad_mode", ["zeros", "reflect"])
def test_moved_values_stay_within_those_of_the_picture(pad_mode):
    images, numbers, epochs = alike(500, (1, 8, 8))
    page = Augment(rotate=180, scale=(0.3, 3.0), translate=0.9, crop=3, flip="both", pad_mode=pad_mode)
    changed = augment(images, numbers, epochs, 0, page)
    least = 0 if pad_mode == "zeros" else images.min()
    assert changed.min() >= least - 1e-6
    assert changed.max() <= images.max() + 1e-6


def test_both_ways_of_moving_draw_the_same_numbers():
    """A zoom that is none to a float's last digits makes flips and crops go through interpolation."""
    images, numbers, epochs = alike(50, (2, 7, 6))
    page = {"flip": "both", "crop": 3}
    exact = augment(images, numbers, epochs, 0, Augment(**page))
    warped = augment(images, numbers, epochs, 0, Augment(**page, scale=(1.0, 1.0 + 1e-12)))
    torch.testing.assert_close(warped, exact, rtol=0, atol=1e-5)


# erasing and noise


@pytest.mark.parametrize(("fraction", "size"), [(0.25, (8, 8)), (0.25, (4, 12)), (0.5, (10, 10)), (0.9, (11, 12))])
def test_one_rectangle_of_that_fraction_is_erased(fraction, size):
    images, numbers, epochs = alike(2000, (3, *size), 0.7)
    changed = augment(images, numbers, epochs, 0, Augment(erase=fraction))
    height, width = (round(side * fraction**0.5) for side in size)
    black = changed == 0
    assert (changed[~black] == torch.tensor(0.7)).all()
    assert (black == black[:, :1]).all()  # in all channels
    assert (black[:, 0].any(2).sum(1) == height).all()
    assert (black[:, 0].any(1).sum(1) == width).all()
    assert (black[:, 0].sum((1, 2)) == height * width).all()
    least, most = (math.prod(side * fraction**0.5 + half for side in size) for half in (-0.5, 0.5))
    assert least <= height * width <= most  # the share up to half a pixel of a side
    places = [tuple(picture.nonzero()[0].tolist()) for picture in black[:, 0]]
    counts = [
        places.count(place)
        for place in product(*(range(s - gone + 1) for s, gone in zip(size, (height, width), strict=True)))
    ]
    assert sum(counts) == 2000
    assert stats.chisquare(counts).pvalue > CHANCE


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 5)])
def test_noise_is_normal_and_of_that_deviation(shape):
    images, numbers, epochs = alike(1000, shape, 0.5)
    noise = (augment(images, numbers, epochs, 0, Augment(noise=0.05)) - 0.5) / 0.05
    assert stats.kstest(noise.double().flatten().numpy(), "norm").pvalue > CHANCE
    values = noise.flatten(1)
    correlations = torch.corrcoef(values.T) - torch.eye(values.shape[1])
    assert correlations.abs().max() < 6 / 1000**0.5  # of pixels over pictures


def test_noise_is_cut_to_the_range():
    images, numbers, epochs = alike(100)
    changed = augment(images, numbers, epochs, 0, Augment(noise=2.0))
    assert (changed.min(), changed.max()) == (0, 1)


# mixing


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_is_the_weighted_mean_of_two_examples(alpha):
    """Both changed as each is changed alone; the share belongs to the own label."""
    page, part = Augment(mixup=alpha, flip="horizontal", crop=2), part_of(40)
    part.fields["label"] = torch.arange(40)
    views = seen(Augmented(Shuffled(part, 8), Augment(flip="horizontal", crop=2)), epochs=3)
    found = seen(Augmented(Shuffled(part, 8), page), epochs=3)
    for (epoch, number), fields in found.items():
        own, other = views[epoch, number]["image"], views[epoch, int(fields["other_label"])]["image"]
        fraction = fields["label_weight"]
        assert fields["label"] == number
        torch.testing.assert_close(fields["image"], fraction * own + (1 - fraction) * other)


def test_cutmix_shows_a_rectangle_of_the_other_and_says_its_fraction():
    part = part_of(40, (1, 9, 6))
    part.fields["label"] = torch.arange(40)
    plain = part["image"]
    others = 0
    for (_, number), fields in seen(Augmented(Shuffled(part, 8), Augment(cutmix=1.0)), epochs=20).items():
        own, other = plain[number], plain[fields["other_label"]]
        shown = (fields["image"] == other) & (own != other)
        assert torch.equal(fields["image"], torch.where(shown, other, own))
        if fields["other_label"] == number:
            continue
        others += 1
        assert fields["label_weight"].item() == pytest.approx(1 - shown.double().mean().item(), abs=1e-6)
        rows, columns = shown[0].any(1), shown[0].any(0)
        assert torch.equal(shown[0], rows[:, None] & columns)
        assert all((line.nonzero().diff(dim=0) == 1).all() for line in (rows, columns))  # without gaps
    assert others > 700


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_fractions_of_mixup_are_from_the_beta_distribution(alpha):
    n = 20_000
    _, fraction = mix(torch.zeros(n, 1, 1, 1), torch.ones(n, 1, 1, 1), *alike(n)[1:], 0, Augment(mixup=alpha))
    assert stats.kstest(fraction.double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > CHANCE


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_fractions_of_cutmix_are_distributed_as_the_paper_makes_them(alpha):
    """Against the paper's procedure written with numpy: means of rectangles by row and column, and of the share."""
    n, height, width = 20_000, 12, 8
    inside, fraction = mix(
        torch.zeros(n, 1, height, width), torch.ones(n, 1, height, width), *alike(n)[1:], 0, Augment(cutmix=alpha)
    )
    generator = np.random.default_rng(0)
    cut = np.sqrt(1 - generator.beta(alpha, alpha, n))
    spans = []
    for side in (height, width):
        long, middle = np.floor(side * cut), generator.integers(side, size=n)
        start = middle - long // 2
        spans.append((np.arange(side) >= start[:, None]) & (np.arange(side) < (start + long)[:, None]))
    theirs = spans[0][:, :, None] & spans[1][:, None, :]
    ours = inside[:, 0].numpy() == 1
    for mean in (
        lambda shown: shown.mean((1, 2)),
        lambda shown: shown.any(2).mean(1),
        lambda shown: shown.any(1).mean(1),
    ):
        assert stats.ks_2samp(mean(ours), mean(theirs)).pvalue > CHANCE
    error = np.sqrt(theirs.mean(0) * (1 - theirs.mean(0)) * 2 / n)
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 6 * error).all()  # pixel by pixel
    torch.testing.assert_close(fraction, 1 - inside.mean((1, 2, 3)))


def test_partners_are_any_of_the_examples_and_others_in_each_epoch():
    n = 30_000
    epochs = torch.zeros(n, dtype=torch.long)
    first, second = (partners(torch.arange(n), epochs + epoch, 0, 30) for epoch in (0, 1))
    for numbers in (first, second):
        assert stats.chisquare(torch.bincount(numbers, minlength=30).numpy()).pvalue > CHANCE
    assert stats.chisquare(torch.bincount(first * 30 + second, minlength=900).numpy()).pvalue > CHANCE


def test_partners_of_two_seeds_are_independent():
    n = 30_000
    epochs = torch.zeros(n, dtype=torch.long)
    first, second = (partners(torch.arange(n), epochs, seed, 30) for seed in (0, 1))
    assert stats.chisquare(torch.bincount(first * 30 + second, minlength=900).numpy()).pvalue > CHANCE


# the stream and the page


def test_it_is_a_stream():
    stream = make_stream({"flip": "horizontal"})
    assert isinstance(stream, Stream)
    assert (stream.size, stream.epoch_rounds) == (5, 7 / 5)


@pytest.mark.parametrize("page", [EXACT[1], *ROUNDED], ids=str)
def test_bytes_and_float64_are_changed_as_float32_is(page):
    values = torch.randint(0, 256, (9, 1, 6, 5), dtype=torch.uint8)
    labels = torch.arange(9)
    parts = [
        Part({"image": values, "label": labels}),
        Part({"image": values.float() / 255, "label": labels}),
        Part({"image": values, "label": labels}, torch.float64),
    ]
    of_bytes, of_floats, of_doubles = (whole(Augmented(Shuffled(p, 9), Augment(**page)), 1).fields for p in parts)
    assert of_doubles["image"].dtype == torch.float64
    for name, expected in of_bytes.items():
        torch.testing.assert_close(of_floats[name], expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(of_doubles[name].to(expected.dtype), expected, rtol=0, atol=1e-5)


def test_nothing_is_on_unless_it_is_asked_for():
    assert not Augment().on
    assert not Augment(pad_mode="reflect").on
    images, numbers, epochs = alike(5)
    assert torch.equal(augment(images, numbers, epochs, 0, Augment()), images)


@pytest.mark.parametrize("page", EXACT + ROUNDED, ids=str)
def test_whatever_is_asked_for_is_on(page):
    for name, value in page.items():
        assert Augment(**{name: value}).on or name == "pad_mode"


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({"noise": -0.1}, "greater than or equal to 0"),
        ({"noise": math.inf}, "finite"),
        ({"rotate": 181}, "less than or equal to 180"),
        ({"flip": "sideways"}, "'none', 'horizontal', 'vertical', 'both' or 'alternating'"),
        ({"scale": (1.2, 0.8)}, r"scale must be two numbers, 0 < smallest <= largest, got 1.2 0.8"),
        ({"scale": (0.0, 1.0)}, "0 < smallest <= largest, got 0 1"),
        ({"scale": (1.0, math.nan)}, "scale=nan must be a finite number"),
        ({"translate": 1.0}, "less than 1"),
        ({"crop": -1}, "greater than or equal to 0"),
        ({"erase": 1.0}, "less than 1"),
        ({"mixup": -1.0}, "greater than or equal to 0"),
        ({"cutmix": math.nan}, "finite"),
        ({"mixup": 0.2, "cutmix": 1.0}, "mixup and cutmix cannot be combined; set one of them to 0"),
        ({"blur": 1}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_values_are_refused(page, message):
    with pytest.raises(ValidationError, match=message):
        Augment(**page)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("fields", "page", "message"),
    [
        ({"x": (6, 4)}, {"noise": 0.1}, "augment applies to images, and the examples have the fields x"),
        ({"image": (6, 4)}, {"noise": 0.1}, "augment applies to images"),
        ({"image": (6, 1, 4, 4)}, {"mixup": 0.1}, "need labels, and the examples have none"),
        (
            {"image": (6, 1, 4, 8)},
            {"crop": 4},
            "augment.crop must be less than the height and width of the images, 4×8; got 4",
        ),
    ],
)
def test_what_cannot_be_changed_is_refused(fields, page, message):
    part = Part({name: torch.zeros(shape) for name, shape in fields.items()})
    with pytest.raises(UsageError, match=message):
        Augmented(Shuffled(part, 2), Augment(**page))
