"""Read the teacher of a distillation: the trained model of another run."""

from __future__ import annotations

from pathlib import Path

import torch

from danlu.data.base.dataset import DataInfo
from danlu.errors import UsageError
from danlu.models.flows.base import Flow
from danlu.models.flows.maf import MAF
from danlu.models.saving.model_folder import load_model


def load_teacher(path: str, info: DataInfo, conditional: bool, data: str) -> MAF:
    """Read a trained MAF, and check that it is a model of the same examples.

    Args:
        path: a run folder, or its ``model/``.
        info: the description of the examples of the student.
        conditional: whether the student is class-conditional.
        data: name of the data set of the student.

    Raises:
        UsageError: if there is no model, it is no MAF, or it is a model of other examples.
        RunError: if its files are damaged.
    """
    model = _read(path)
    if not isinstance(model, MAF):
        raise _refused(
            f"the model in {path} is of class {model.kind.__name__}, and the teacher must be of class MAF: train one "
            f"with `danlu train maf --data {data}`"
        )
    difference = _difference(model, info, conditional)
    if difference is not None:
        raise _refused(f"{path} cannot be the teacher of a student on {data}: {difference}")
    return model


def _read(path: str) -> Flow:
    """The model of a run, without a change of torch's default generator."""
    folder = Path(path).expanduser()
    if not folder.exists():
        raise _refused(f"{path} does not exist; give the folder of a run of maf")
    if (folder / "run.json").is_file() and not (folder / "model" / "model.json").is_file():
        raise _refused(f"{path} has no model yet: the run is not finished; continue it with `danlu resume {path}`")
    # sizes may be checked on a device without memory, and values are needed here
    with torch.device("cpu"), torch.random.fork_rng([]):
        try:
            return load_model(folder / "model" if (folder / "model").is_dir() else folder)  # type: ignore[return-value]
        except UsageError as error:
            raise _refused(str(error)) from error


def _difference(teacher: MAF, info: DataInfo, conditional: bool) -> str | None:
    """Why the teacher is a model of other examples than the student, or None if it is not."""
    known: DataInfo = teacher.info
    if (known.kind, known.description) != (info.kind, info.description):
        return f"it is a model of {known.description}, and the data has {info.description}"
    if teacher.classes and not conditional:
        return "it is class-conditional; set conditional=True"
    if conditional and not teacher.classes:
        return "it is not class-conditional; set conditional=False, or train the teacher with conditional=True"
    if conditional and teacher.classes != info.classes:
        return f"it has {teacher.classes} classes, and the data has {info.classes}"
    if conditional and known.label_names != info.label_names:
        return "its classes have other names, or another order"
    if (known.spacing, known.bounds) != (info.spacing, info.bounds):
        return f"its values are {_values(known)}, and those of the data {_values(info)}"
    if known.units != info.units:
        return "its columns have other names or scales; train both on the same table with the same split"
    return None


def _values(info: DataInfo) -> str:
    """The possible values of an example, for messages."""
    ends = "unbounded" if info.bounds is None else f"from {info.bounds[0]:g} to {info.bounds[1]:g}"
    return f"{ends} in steps of {info.spacing:.4g}" if info.spacing is not None else ends


def _refused(message: str) -> UsageError:
    return UsageError(f"teacher: {message}", settings=("teacher",))
