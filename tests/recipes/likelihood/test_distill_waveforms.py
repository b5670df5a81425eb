"""Distillation of waveforms: a WaveNet teacher, and an IAF student with the same network."""

import math

import pytest
import torch

import danlu
from danlu.data.base.dataset import Part
from danlu.data.waveforms.info import WaveformInfo, range_of_levels
from danlu.errors import UsageError
from danlu.models import IAF, MAF
from danlu.nn import WaveNet
from danlu.recipes import as_recipe, build
from danlu.tasks import Distillation

LENGTH = 12
NETWORK = {"conditioner": "wavenet", "channels": 6, "layers": 3, "batch_norm": False}
SMALL = {
    "data": "tones",
    "tones": {"examples": 80, "length": 16},
    "model": {**NETWORK, "blocks": 1},
    "teacher_model": {**NETWORK, "blocks": 1},
    "batch_size": 16,
}


def test_the_divergence_from_a_known_teacher_falls_toward_zero():
    """The teacher has one block; the student, of two blocks, can come close to it."""
    torch.manual_seed(0)
    low, high = range_of_levels(8)
    info, values = WaveformInfo((LENGTH,), range=(low, high), levels=256), {"levels": 256, "range": (low, high)}
    teacher = MAF((LENGTH,), blocks=1, **NETWORK, **values)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    student = IAF((LENGTH,), blocks=2, **NETWORK, **values)
    task = Distillation(teacher, student, info)
    none = Part({"waveform": torch.zeros(0, LENGTH)})
    before = task.divergence(none)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    source = torch.Generator().manual_seed(1)
    for _ in range(150):
        log_q, log_p = task.log_probs(torch.randn(64, LENGTH, generator=source))
        optimizer.zero_grad(), (log_q - log_p).mean().backward(), optimizer.step()
    after = task.divergence(none)
    assert before.mean > 0.5
    assert -3 * after.standard_error < after.mean < 0.1 * before.mean


def test_a_run_trains_both_models_and_lowers_the_divergence():
    built = build(as_recipe("distill-iaf", {**SMALL, "rounds": 60, "teacher_rounds": 20, "lr": 1e-2}))
    task = built.task
    assert isinstance(task.model, IAF)
    networks = [sum(isinstance(part, WaveNet) for part in model.modules()) for model in (task.teacher, task.student)]
    assert networks == [1, 1]
    divergences = []
    for report in built.trainer:
        if report.round in (20, 60):
            divergences.append(task.divergence(built.data.validation, 500).mean)
    assert divergences[1] < 0.6 * divergences[0]


def test_the_student_of_a_trained_teacher_is_saved_scored_and_sampled(tmp_path):
    quiet = {"quiet": True, "rounds": 3}
    data = {name: SMALL[name] for name in ("data", "tones", "model", "batch_size")}
    teacher = danlu.train("maf", out=tmp_path / "teacher", **data, **quiet)
    student = danlu.train("distill-iaf", teacher=str(teacher.path), out=tmp_path / "student", **data, **quiet)
    assert {"dequantized_log_prob", "bits_per_dimension"} <= set(student.scores["test"])
    assert math.isfinite(student.scores["test"]["bits_per_dimension"])
    assert danlu.sample(student.path, 2).path.suffix == ".wav"
    other = {**data, "tones": {"examples": 80, "length": 18}}
    with pytest.raises(UsageError, match="a model of waveforms of 16 samples at 4,000 Hz, and the data has wavef"):
        danlu.train("distill-iaf", teacher=str(teacher.path), out=tmp_path / "no", **other, **quiet)
