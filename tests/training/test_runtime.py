"""Where a run happens: devices, slices of a batch, sums over processes, compilation."""

import math
import os
import shutil
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch._inductor.runtime.cache_dir_utils import cache_dir

from danlu.errors import UsageError
from danlu.training import Runtime, pick_device
from examined import go_on, play, tiny, trainer_of, without_dropout
from rank_jobs import collectives, disagree, normed, scores_of_a_session


def test_auto_picks_what_is_there_and_says_why():
    device, reason = pick_device("auto")
    there = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert device.type == there
    assert reason


@pytest.mark.unchecked
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_with_what_to_do(device):
    if getattr(torch, device).is_available() if device == "cuda" else torch.backends.mps.is_available():
        pytest.skip(f"{device} is there")
    with pytest.raises(UsageError, match=f"device {device}: .*use device cpu"):
        Runtime.start(device)


@pytest.mark.unchecked
def test_a_device_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="unknown device 'gpu'; valid devices: auto, cpu, cuda, mps"):
        pick_device("gpu")


def test_float64_needs_another_device_than_mps(monkeypatch):
    monkeypatch.setattr("danlu.training.runtime.pick_device", lambda device: (torch.device("mps"), "requested"))
    with pytest.raises(UsageError, match="float64 is not available on mps; use device cpu") as error:
        Runtime.start("mps", "float64")
    assert error.value.settings == ("device=cpu",)


@pytest.mark.xdist_group("two ranks")
def test_processes_that_differ_are_found_by_the_name_of_a_tensor(two_ranks):
    said = "the processes have different values of b; resume from the last checkpoint"
    assert two_ranks.run(disagree) == [said, said]


@pytest.mark.parametrize(("size", "world", "parts"), [(64, 1, 1), (64, 2, 4), (10, 3, 3), (7, 7, 1), (9, 1, 9)])
def test_slices_cut_the_batch_without_gap_or_overlap(size, world, parts):
    slices = [part for rank in range(world) for part in Runtime(rank=rank, world=world).row_slices(size, parts)]
    assert slices[0].start == 0
    assert slices[-1].stop == size
    assert all(a.stop == b.start for a, b in pairwise(slices))
    lengths = {part.stop - part.start for part in slices}
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.unchecked
def test_more_parts_than_rows_are_refused():
    with pytest.raises(UsageError, match=r"a batch of 5 cannot be split into 6 \(2 processes × 3 micro-batches\)"):
        Runtime(world=2).row_slices(5, 3)


@pytest.mark.xdist_group("two ranks")
def test_sums_means_and_decisions_over_two_processes(two_ranks):
    expected = {"sum": [[[1.0] * 3] * 2, 21.0], "mean": [0.5, 4.0], "decided": [True, False], "n": 2}
    expected["told"] = math.nextafter(0.1, 0)  # to the last bit
    assert two_ranks.run(collectives) == [expected, expected]


@pytest.mark.xdist_group("two ranks")
def test_all_processes_go_by_the_scores_of_the_first(two_ranks):
    """Else two that differ in the last bit would save, or lose patience, at different rounds."""
    assert two_ranks.run(scores_of_a_session) == [{"validation/accuracy": math.nextafter(0.9, 0)}] * 2


@pytest.mark.xdist_group("two ranks")
def test_ranks_agree_on_batch_norm_and_do_it_again_the_same(two_ranks):
    (first, second), (again, _) = two_ranks.run(normed), two_ranks.run(normed)
    assert any(name.endswith("running_var") for name in first)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
        assert torch.equal(tensor, again[name]), name


@pytest.mark.unchecked
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="there is no C++ compiler")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_compiled_players_learn_the_same_up_to_rounding(backend, monkeypatch):
    """In float64, without dropout, whose masks a compiler may draw in its own way; names in the state stay.

    The first backend differs from the compiler of a run, the second, in that its graphs do not become C++ code.
    """
    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: real(module, **{**options, "backend": backend}))
    plain, compiled = (
        play(without_dropout(trainer_of(tiny("mlp"), Runtime(precision="float64", compile=on)))) for on in (False, True)
    )
    assert plain.keys() == compiled.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("setting", "expected"), [("auto", True), ("on", True), ("off", False)])
def test_convolutions_on_a_cpu_have_channels_last_by_default(setting, expected):
    assert Runtime.start("cpu", channels_last=setting).channels_last is expected


def _fast(channels_last, **changes):
    wide = {**tiny("resnet-fast").model.model_dump(), "width": 16}  # with less, the memory format is torch's own
    return trainer_of(
        tiny("resnet-fast", model=wide, **changes), Runtime(precision="float64", channels_last=channels_last)
    )


def test_channels_last_is_another_order_in_memory_and_nothing_else(tmp_path):
    """A checkpoint of one order goes on in the other, and ends where either ends alone."""
    plain, ordered = _fast(False), _fast(True)
    assert any(p.stride(1) == 1 and p.shape[2:] > (1, 1) for p in ordered.task.parameters() if p.dim() == 4)
    for trainer in (plain, ordered):
        while trainer.round < 3:
            trainer.run_round()
    ends = [go_on(plain, _fast(True), tmp_path / "a"), go_on(ordered, _fast(False), tmp_path / "b"), plain, ordered]
    expected, *others = [play(trainer) for trainer in ends]
    for other in others:
        assert other.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(other[name], tensor, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("optimizer", ["nesterov", "rmsprop", "adamw", "muon"])
def test_channels_last_after_a_stop_ends_the_same_to_the_bit(tmp_path, optimizer):
    through, stopped, fresh = (_fast(True, optimizer=optimizer, lr=0.01) for _ in range(3))
    stopped.run_round()
    gone_on = play(go_on(stopped, fresh, tmp_path))
    for name, tensor in play(through).items():
        assert torch.equal(gone_on[name], tensor), name


@pytest.mark.unchecked
def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="needs a C"):
        Runtime.start("cpu", compile=True)


def test_compiled_code_is_stored_in_a_private_folder_unless_the_user_names_one(monkeypatch, tmp_path):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "of-the-user")
    Runtime.start("cpu", compile=True)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "of-the-user"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    folder = tmp_path / f"compiled-{os.getuid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    Runtime.start("cpu", compile=True)
    assert cache_dir() == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.unchecked
def test_a_folder_of_another_user_is_not_used_for_compiled_code(monkeypatch, tmp_path):
    """Nor a link, which another user could have made."""
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    user = os.getuid()
    (tmp_path / f"compiled-{user}").symlink_to(tmp_path)
    with pytest.raises(UsageError, match=r"is a link.*TORCHINDUCTOR_CACHE_DIR"):
        Runtime.start("cpu", compile=True)
    (tmp_path / f"compiled-{user + 1}").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)  # the folder then belongs to another user
    with pytest.raises(UsageError, match=r"belongs to another user.*TORCHINDUCTOR_CACHE_DIR"):
        Runtime.start("cpu", compile=True)
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
