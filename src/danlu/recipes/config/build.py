"""Build data, task and trainer from a recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from danlu.data.base.batch_stream import Stream
from danlu.data.base.dataset import DataInfo, DataSet
from danlu.errors import UsageError
from danlu.models.saving.shape_check import check_memory
from danlu.recipes.config.recipe import Recipe
from danlu.rng.keys import seeded
from danlu.storage.access import Access
from danlu.tasks.task import Task
from danlu.training.runtime import DeviceName, Runtime
from danlu.training.step_memory import StepMemory, measure_step
from danlu.training.trainer import Trainer


@dataclass(frozen=True)
class Built:
    """Data, task and trainer of a recipe.

    Attributes:
        recipe: the recipe.
        data: the data set.
        task: the task, on the device of the runtime.
        trainer: the trainer; iterating over it trains.
        placement: where the training examples are stored during training.
        epoch: number of rounds in an epoch.
    """

    recipe: Recipe
    data: DataSet
    task: Task
    trainer: Trainer
    placement: str
    epoch: float


def start_runtime(recipe: Recipe, device: DeviceName = "auto", single_process: bool = False) -> Runtime:
    """Device, precision and processes for a recipe.

    Args:
        recipe: the recipe.
        device: the device.
        single_process: whether to ignore other processes that torchrun started.

    Raises:
        UsageError: if the device is missing or does not support the settings of the recipe.
    """
    return Runtime.start(
        device,
        recipe.precision,
        recipe.compile,
        recipe.cuda_graphs,
        recipe.deterministic,
        recipe.tf32,
        single_process,
        recipe.channels_last,
    )


def build(
    recipe: Recipe, runtime: Runtime | None = None, access: Access | None = None, data: DataSet | None = None
) -> Built:
    """Load the data of a recipe and build its task and trainer. Calls with the same arguments have the same result.

    Args:
        recipe: the recipe.
        runtime: device, precision and processes; one process on the CPU if not given.
        access: access to data files and to the cache.
        data: the data set, to be used instead of the recipe's.

    Raises:
        UsageError: if recipe, data and device are not compatible.

    >>> from danlu.recipes import as_recipe
    >>> built = build(as_recipe("mlp", {"rounds": 2}))
    >>> built.data.name, type(built.task.model).__name__, [report.round for report in built.trainer]
    ('digits', 'MLP', [1, 2])
    """
    runtime = runtime or Runtime()
    data = recipe.load(access) if data is None else data
    task = build_task(recipe, data.info)
    if data.tokenizer is not None:
        model: Any = task.model
        model.tokenizer = data.tokenizer
    stream, placement = recipe.make_stream(data.train, runtime.device, runtime.dtype)
    if recipe.mixes_labels and not task.mixes:
        raise UsageError(f"mixup and cutmix mix labels, which {type(task).__name__} does not use; set both to 0")
    stream = recipe.transform(stream, recipe.seed)
    epoch = stream.epoch_rounds / task.draws()
    trainer = Trainer(
        task,
        recipe.settings_of_players(task),
        stream,
        recipe.length(epoch),
        recipe.seed,
        recipe.grad_accumulation,
        runtime,
    )
    return Built(recipe, data, task, trainer, placement, epoch)


def build_task(recipe: Recipe, info: DataInfo) -> Task:
    """The task of a recipe with its initial weights, which depend on the seed. The global generator is not changed.

    Args:
        recipe: the recipe.
        info: description of the data.

    Raises:
        UsageError: if settings and data are not compatible.
    """
    if info.kind not in recipe.kinds:
        raise UsageError(f"this recipe needs {' or '.join(recipe.kinds)}, got {info.kind} ({recipe.data})")
    with seeded("weights", recipe.seed):
        try:
            check_memory(lambda: recipe.task(info))
            return recipe.task(info)
        except UsageError:
            raise
        except ValueError as error:  # raised by the constructor of a network
            raise UsageError(str(error)) from error


def estimate_memory(recipe: Recipe, info: DataInfo, stream: Stream, runtime: Runtime, processes: int = 1) -> StepMemory:
    """Estimate the memory of a training from one small step of a temporary task, and check that a step is possible.

    Tensors of a running training and the global generators are not changed.

    Args:
        recipe: the recipe.
        info: description of the data.
        stream: the training batches.
        runtime: device and precision; other processes are not involved.
        processes: number of processes of the training.

    Raises:
        UsageError: if settings and data are not compatible, or a micro-batch is too small for a normalization.

    >>> from danlu.recipes import as_recipe
    >>> built = build(as_recipe("mlp", {"rounds": 2}))
    >>> memory = estimate_memory(built.recipe, built.data.info, built.trainer.stream, built.trainer.runtime)
    >>> memory.weights == 4 * sum(p.numel() for p in built.task.parameters())
    True
    """
    device = runtime.device
    local = replace(runtime, compile=False, cuda_graphs=False, rank=0, world=1)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        task = build_task(recipe, info)
        rounds = recipe.length(stream.epoch_rounds / task.draws())
        trainer = Trainer(task, recipe.settings_of_players(task), stream, rounds, recipe.seed, runtime=local)
        return measure_step(trainer, stream.size // (processes * recipe.grad_accumulation))
