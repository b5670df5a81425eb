"""From a recipe to data, task and trainer. Nothing else puts these together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from danlu.data.base.batch_stream import Stream
from danlu.data.base.dataset import DataInfo, DataSet
from danlu.errors import UsageError
from danlu.recipes.config.recipe import Recipe
from danlu.rng.keys import key
from danlu.storage.access import Access
from danlu.tasks.task import Task
from danlu.training.runtime import DeviceName, Runtime
from danlu.training.step_memory import StepMemory, measure_step
from danlu.training.trainer import Trainer


@dataclass(frozen=True)
class Built:
    """What a recipe describes, ready to be trained.

    Attributes:
        recipe: the recipe.
        data: its data set.
        task: its task, on the device of the runtime.
        trainer: iterates over the rounds of the training.
        placement: where the training examples are held while the model is trained.
        epoch: rounds in which every training example is seen once.
    """

    recipe: Recipe
    data: DataSet
    task: Task
    trainer: Trainer
    placement: str
    epoch: float


def start_runtime(recipe: Recipe, device: DeviceName = "auto", alone: bool = False) -> Runtime:
    """Device, precision and processes for a recipe.

    Args:
        recipe: its settings for the device are used.
        device: where to train.
        alone: whether to leave other processes alone although a launcher has started some.

    Raises:
        UsageError: if the device is missing or cannot do what the recipe asks for.
    """
    return Runtime.start(
        device,
        recipe.precision,
        recipe.compile,
        recipe.cuda_graphs,
        recipe.deterministic,
        recipe.tf32,
        alone,
        recipe.channels_last,
    )


def build(
    recipe: Recipe, runtime: Runtime | None = None, access: Access | None = None, data: DataSet | None = None
) -> Built:
    """Load the data of a recipe and make its task and its trainer. Two calls with the same arguments give the same.

    Args:
        recipe: what to train.
        runtime: device, precision and processes; the CPU and one process if not given.
        access: where data is read from and cached.
        data: train on these examples instead of loading the recipe's data set.

    Raises:
        UsageError: if recipe, data and device do not fit together.

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
        raise UsageError(f"mixup and cutmix mix labels, which {type(task).__name__} does not read; leave both at 0")
    stream = recipe.transform(stream, recipe.seed)
    epoch = stream.epoch_rounds / task.draws()
    trainer = Trainer(
        task,
        recipe.optimizer_settings(),
        stream,
        recipe.length(epoch),
        recipe.seed,
        recipe.grad_accumulation,
        runtime,
    )
    return Built(recipe, data, task, trainer, placement, epoch)


def build_task(recipe: Recipe, info: DataInfo) -> Task:
    """The task of a recipe, with the initial weights that its seed gives. The global generator is left as it was.

    Args:
        recipe: what to train.
        info: what an example of the data is.

    Raises:
        UsageError: if the settings do not fit together, or not the data.
    """
    if info.kind not in recipe.kinds:
        raise UsageError(f"this recipe is for {' or '.join(recipe.kinds)}, and {recipe.data} is {info.kind}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key("weights", recipe.seed))
        try:
            return recipe.task(info)
        except UsageError:
            raise
        except ValueError as error:  # of the constructor of a network
            raise UsageError(str(error)) from error


def estimate_memory(recipe: Recipe, info: DataInfo, stream: Stream, runtime: Runtime) -> StepMemory:
    """The memory that a training takes, from one small step of a task that is made for this and then dropped.

    The tensors of a training and the global generators are left as they are.

    Args:
        recipe: what is trained.
        info: what an example of the data is.
        stream: its training batches.
        runtime: device and precision; other processes are not involved.

    Raises:
        UsageError: if the settings do not fit together, or not the data.

    >>> from danlu.recipes import as_recipe
    >>> built = build(as_recipe("mlp", {"rounds": 2}))
    >>> memory = estimate_memory(built.recipe, built.data.info, built.trainer.stream, built.trainer.runtime)
    >>> memory.weights == 4 * sum(p.numel() for p in built.task.parameters())
    True
    """
    device = runtime.device
    alone = replace(runtime, compile=False, cuda_graphs=False, rank=0, world=1)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        task = build_task(recipe, info)
        rounds = recipe.length(stream.epoch_rounds / task.draws())
        return measure_step(Trainer(task, recipe.optimizer_settings(), stream, rounds, recipe.seed, runtime=alone))
