"""Batches are the same wherever examples stay, and what cannot be read is named."""

import threading

import pytest
import torch

from danlu.data import Augment, Augmented, Part, PrefetchedStream, Shuffled
from danlu.data.base.placement import choose_placement, free_memory
from danlu.data.base.prefetch import PREFETCHED
from danlu.errors import RunError

CPU = torch.device("cpu")


def part(n: int = 23) -> Part:
    source = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (n, 1, 3, 2), generator=source, dtype=torch.uint8)
    return Part({"image": image, "label": torch.arange(n)})


def mapped(folder, n: int = 23) -> Part:
    path = folder / "images"
    path.write_bytes(part(n).fields["image"].numpy().tobytes())
    image = torch.from_file(str(path), shared=False, size=n * 6, dtype=torch.uint8).view(n, 1, 3, 2)
    return Part({"image": image, "label": torch.arange(n)}, sources={"image": str(path)})


def test_what_fits_is_in_memory_and_what_does_not_is_read_ahead(tmp_path):
    fits, does_not = (choose_placement(mapped(tmp_path), 5, 0, CPU, torch.float32, free) for free in (10_000, 100))
    assert isinstance(fits.stream, Shuffled)
    assert not fits.stream.part.fields["image"].is_shared()
    assert isinstance(does_not.stream, PrefetchedStream)
    assert "do not fit" in does_not.reason


def test_the_order_is_the_same_in_memory_and_from_disk_and_everything_comes_once_an_epoch(tmp_path):
    here, there = (choose_placement(mapped(tmp_path), 5, 3, CPU, torch.float64, free).stream for free in (10_000, 100))
    seen = []
    for position in range(23):  # five epochs
        for rows in (slice(0, 2), slice(2, 5)):
            a, b = here.batch(position, rows), there.batch(position, rows)
            assert a.fields.keys() == b.fields.keys()
            assert all(torch.equal(a[name], b[name]) for name in a.fields)
            assert b["image"].dtype == torch.float64
            assert torch.equal(a.numbers, b.numbers)
            seen += b["label"].tolist()
    for epoch in range(5):
        assert sorted(seen[epoch * 23 : (epoch + 1) * 23]) == list(range(23))


def test_going_on_anywhere_gives_the_same(tmp_path):
    stream = choose_placement(mapped(tmp_path), 5, 3, CPU, torch.float32, 100).stream
    first = {position: stream.batch(position, slice(0, 5))["label"] for position in range(12)}
    for position in (11, 2, 7, 8, 0):
        assert torch.equal(stream.batch(position, slice(0, 5))["label"], first[position])


def test_the_next_batches_are_read_before_they_are_asked_for():
    read = []

    class Watched(Shuffled):
        def batch(self, position, rows):
            read.append(position)
            return super().batch(position, rows)

    ahead = PrefetchedStream(Watched(part(), 5), CPU, workers=1)
    ahead.batch(0, slice(0, 5))
    ahead._readers.shutdown(wait=True)
    assert read == list(range(PREFETCHED + 1))


def test_a_reader_that_hangs_or_fails_names_the_examples():
    released = threading.Event()

    class Bad(Shuffled):
        def batch(self, position, rows):
            if position == 1:
                released.wait(20)
            if position == 2:
                raise OSError(5, "Input/output error")
            return super().batch(position, rows)

    ahead = PrefetchedStream(Bad(part(), 5, seed=1), CPU, timeout=0.3)
    ahead.batch(0, slice(0, 5))
    wanted = ", ".join(map(str, Shuffled(part(), 5, seed=1).numbers(1, slice(0, 5)).tolist()))
    with pytest.raises(RunError, match=f"training examples {wanted} could not be read within 0.3 seconds"):
        ahead.batch(1, slice(0, 5))
    released.set()
    with pytest.raises(RunError, match=r"cannot be read: .*Input/output error"):
        ahead.batch(2, slice(0, 5))


def test_free_memory_is_a_number_of_bytes():
    assert 2**20 < free_memory(CPU) < 2**50


def test_the_examples_to_mix_with_are_read_ahead_too(tmp_path):
    """Every row of a file that does not fit into memory is read by a reader thread, and the batches are the same."""
    readers = set()

    class Watched(Part):
        def rows(self, index):
            readers.add(threading.current_thread().name.split("_")[0])
            return super().rows(index)

    page = Augment(mixup=0.4)
    examples = mapped(tmp_path)
    watched = Watched(examples.fields, torch.float32, examples.sources)
    prefetched = Augmented(PrefetchedStream(Shuffled(watched, 5, 3), CPU), page, seed=3)
    prefetched.stream.stream._candidates = Watched(examples.fields, torch.float32)
    direct = Augmented(Shuffled(part(), 5, 3), page, seed=3)
    for position in range(12):
        a, b = prefetched.batch(position, slice(1, 5)), direct.batch(position, slice(1, 5))
        assert a.fields.keys() == b.fields.keys() == {"image", "label", "other_label", "label_weight"}
        assert all(torch.equal(a[name], b[name]) for name in a.fields)
    assert readers == {"reader"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_part_that_moves_is_copied_once(tmp_path, dtype):
    """A field that has left its file is in memory, so that it is not copied a second time."""
    examples = mapped(tmp_path)
    examples = Part({**examples.fields, "x": torch.zeros(23)}, sources={"image": "a file", "x": "a file"})
    moved = examples.to(CPU, dtype)
    assert set(moved.sources) == ({"image", "x"} if dtype == torch.float32 else {"image"})
    copied = moved.unmapped()
    assert not copied.sources
    assert (copied.fields["x"] is moved.fields["x"]) == (dtype == torch.float64)
    assert copied.fields["image"].data_ptr() != moved.fields["image"].data_ptr()
    assert copied.fields["label"] is moved.fields["label"]
    assert not examples.to("meta").sources


def test_the_size_of_a_part_counts_the_type_in_which_it_is_stored():
    examples = Part({"x": torch.zeros(10), "image": torch.zeros(10, 2, dtype=torch.uint8)})
    assert (examples.nbytes, examples.nbytes_as(torch.float64), examples.nbytes_as(torch.bfloat16)) == (60, 100, 40)
    stream = choose_placement(examples, 2, 0, CPU, torch.float64, free=199).stream
    assert isinstance(stream, PrefetchedStream)
    assert isinstance(choose_placement(examples, 2, 0, CPU, torch.float64, free=200).stream, Shuffled)
