"""The state of a run in memory: data, task and trainer, built from a recipe; and the loop over the rounds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from danlu.app.console.progress import Screen
from danlu.app.console.signals import Interrupt
from danlu.app.inspect.model_summary import Summary, summarize
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.launcher import check_devices
from danlu.app.runs.training_samples import is_due, write_samples
from danlu.data.base.dataset import DataSet, Part
from danlu.data.base.placement import fits
from danlu.errors import UsageError, nearest
from danlu.evaluation.feature_extractors import feature_name
from danlu.evaluation.generative_scores import GenerativeScorer
from danlu.recipes.config.build import Built, build, estimate_memory, start_runtime
from danlu.recipes.config.generative_recipe import GenerativeRecipe
from danlu.recipes.config.recipe import Recipe
from danlu.storage.access import Access
from danlu.training import checkpoint
from danlu.training.checkpoint import Checkpoint
from danlu.training.runtime import DeviceName, Runtime
from danlu.training.step_memory import StepMemory
from danlu.training.trainer import Trainer
from danlu.training.validation import Best, evaluate, evaluation_mode
from danlu.verbs import need

SECONDS_BETWEEN_SAVES = 30.0
LINES_OF_LOG = 500
"""approximate number of rounds that are logged, in addition to those with an evaluation"""
SMALL_OUTPUTS = 4e6
"""bytes of the layer outputs of a batch below which one thread is as fast as several, if there are few parameters"""
SMALL_PARAMETERS = 1e6
"""number of parameters for the same"""


@dataclass
class Session:
    """Everything that a run needs in memory.

    Attributes:
        recipe: the recipe.
        data: the data set.
        trainer: the trainer of the task.
        best: the best score, if one is monitored.
        every: rounds between evaluations.
        placement: where the training examples are stored during training.
        access: access to data files and to the cache.
        scorer: scores generated examples, if requested.
        memory: estimated memory of a step, after ``check_processes``.
        stopped: whether the run was stopped by a signal before its end.
        seconds: training time, including the time before a resume.
    """

    recipe: Recipe
    data: DataSet
    trainer: Trainer
    best: Best | None
    every: int
    placement: str = "in memory"
    access: Access = field(default_factory=Access)
    scorer: GenerativeScorer | None = None
    memory: StepMemory | None = None
    stopped: bool = False
    seconds: float = 0.0
    _healthy: bool = False
    _terms_healthy: bool = True
    _now: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls,
        recipe: Recipe,
        device: DeviceName = "auto",
        access: Access | None = None,
        single_process: bool = False,
        data: DataSet | None = None,
    ) -> Session:
        """Load the data and build task and trainer. Two calls with the same recipe build the same.

        Args:
            recipe: the recipe.
            device: the device.
            access: access to data files and to the cache.
            single_process: whether to ignore other processes that torchrun started.
            data: the data set, if it is loaded already.

        Raises:
            UsageError: if recipe, data and device are not compatible.
        """
        runtime = start_runtime(recipe, device, single_process)
        built = build(recipe, runtime, access, data)
        every = recipe.evaluate_every or max(1, round(built.epoch))
        scorer = _scorer(built, runtime, access)
        best = _monitored(recipe, built.task.better, bool(len(built.data.validation)), scorer)
        return cls(recipe, built.data, built.trainer, best, every, built.placement, access or Access(), scorer)

    @cached_property
    def validation(self) -> Part:
        """The validation examples, copied to the device once if they fit there."""
        runtime, part = self.trainer.runtime, self.data.validation
        return part.to(runtime.device, runtime.dtype) if fits(part, runtime.device, runtime.dtype) else part

    @cached_property
    def summary(self) -> Summary:
        """The layers of the model."""
        return summarize(self.trainer.task.model, self.data.info.shape)

    def check_processes(self, processes: int, on_this_machine: bool = True) -> None:
        """Check that the run can be trained in this number of processes, and estimate its memory with a small step.

        Args:
            processes: number of processes.
            on_this_machine: whether all of them use devices of this machine.

        Raises:
            UsageError: if it cannot.
        """
        trainer = self.trainer
        if on_this_machine:
            check_devices(processes, trainer.runtime.device.type)
        trainer.check_processes(processes)
        self.memory = estimate_memory(self.recipe, self.data.info, trainer.stream, trainer.runtime, processes)

    def set_threads(self, threads: int | None) -> None:
        """Set the number of threads; if None, one on a CPU for small models, where more only wait for each other."""
        outputs = self.summary.output_bytes * self.trainer.stream.size
        small = outputs < SMALL_OUTPUTS and self.summary.parameters < SMALL_PARAMETERS
        if threads or (small and self.trainer.runtime.device.type == "cpu"):
            torch.set_num_threads(threads or 1)

    def prepare_scorer(self, run: RunFolder, screen: Screen, dry_run: bool = False) -> None:
        """Load the feature extractor for generated examples; train it first if it is not cached.

        A dry run trains it for two rounds only. The time of its training is ``extractor_seconds`` of run.json.
        """
        if self.scorer is not None and not self.trainer.runtime.rank:
            self.scorer.folder = run.feature_extractor
            self.scorer.access = replace(self.scorer.access, progress=screen.progress)
            self.scorer.brief = dry_run
            start, ready = time.monotonic(), self.scorer.ready
            if not ready:
                name = feature_name(self.data, self.scorer.feature_extractor)
                how = "two rounds in a dry run" if dry_run else "cached for other runs"
                screen.say(f"  training the feature extractor {name} ({how})")
            _ = self.scorer.network
            if not ready:
                run.save_page(extractor_seconds=time.monotonic() - start)

    def train(self, run: RunFolder, screen: Screen, interrupt: Interrupt) -> None:
        """Train until the last round, until the patience is used up, or until a signal; log, evaluate and save."""
        trainer, runtime = self.trainer, self.trainer.runtime
        log_every = max(1, trainer.rounds // LINES_OF_LOG)
        self._now = self._saved = time.monotonic()
        for report in trainer if not self._exhausted() else ():
            evaluated = report.round % self.every == 0 or report.round == trainer.rounds
            better = False
            if evaluated or report.round % log_every == 0:
                entry: dict[str, Any] = {
                    "round": report.round,
                    "epoch": report.drawn / trainer.stream.epoch_rounds,
                    **report.values(),
                    **(self._evaluate() if evaluated else {}),
                }
                run.log(entry)
                screen.show(report.round, entry, evaluated)
                self._warn_of_terms(report.round, report.values(), screen)
                if evaluated:
                    self._warn(entry, screen)
                better = evaluated and self._is_better(entry)
            if evaluated and is_due(report.round, trainer.rounds, self.every, self.recipe.sample_files):
                self._write_samples(run)
            if runtime.broadcast_bool(better or time.monotonic() - self._saved > SECONDS_BETWEEN_SAVES):
                self.save(run)
            if runtime.broadcast_bool(self._exhausted()):
                break
            if report.round < trainer.rounds and runtime.broadcast_bool(interrupt.asked):
                self.stopped = True
                break
        self.save(run)

    def _warn(self, entry: Mapping[str, float], screen: Screen) -> None:
        """Report a new problem. One that exists from the beginning may resolve; if not, it is reported at the end."""
        diagnosis = self.diagnose(entry)
        if diagnosis is not None and self._healthy:
            screen.say(f"  round {entry['round']}: {diagnosis}")
        self._healthy = diagnosis is None

    def _warn_of_terms(self, round: int, terms: Mapping[str, float], screen: Screen) -> None:
        """Report once a problem that the terms of training show, without waiting for an evaluation."""
        diagnosis = self.trainer.task.diagnose_terms(terms) if self._terms_healthy else None
        if diagnosis is not None:
            screen.say(f"  round {round}: {diagnosis}")
            self._terms_healthy = False

    def diagnose(self, entry: Mapping[str, float]) -> str | None:
        """The problem that the scores in a line of the log show, as text; None if there is none."""
        split_names = (name.partition("/")[::2] for name in entry)
        scores = {name: entry[f"{part}/{name}"] for part, name in split_names if part in ("validation", "generated")}
        return self.trainer.task.diagnose(scores | (self.scorer.coverage(scores) if self.scorer is not None else {}))

    def _write_samples(self, run: RunFolder) -> None:
        """Write samples of the model. This happens before the checkpoint, so that a resumed run has them too."""
        trainer = self.trainer
        with torch.no_grad(), evaluation_mode(trainer), trainer.runtime.autocast():
            if not trainer.runtime.rank:
                write_samples(trainer.task.model, self.data.validation, self.data.info, run.samples, trainer.round)

    def _is_better(self, entry: dict[str, Any]) -> bool:
        if self.best is None:
            return False
        part = "generated" if self.scorer is not None and self.best.monitor == self.scorer.monitored else "validation"
        value = entry.get(f"{part}/{self.best.monitor}")
        if value is None:
            return self._without_monitored(part, entry)
        return self.best.update(entry["round"], value)

    def _without_monitored(self, part: str, entry: Mapping[str, Any]) -> bool:
        """A score that was there before can be missing, such as an estimate that is unreliable this time.

        Raises:
            UsageError: if the score has never been there.
        """
        assert self.best is not None
        if self.best.round is not None:
            return False
        names = ", ".join(name.partition("/")[2] for name in entry if name.startswith(f"{part}/"))
        raise UsageError(
            f"monitor: there is no score {self.best.monitor}; this evaluation has: {names}", settings=("monitor",)
        )

    def _exhausted(self) -> bool:
        return self.best is not None and self.best.exhausted

    def _evaluate(self) -> dict[str, float]:
        """The scores of process 0: the last bit can differ, and processes must agree on the best score."""
        broadcast, scores = self.trainer.runtime.broadcast, evaluate(self.trainer, self.validation)
        validation = {f"validation/{name}": broadcast(value) for name, value in scores.items()}
        return validation | {f"generated/{name}": value for name, value in self._generated_scores().items()}

    def _generated_scores(self) -> dict[str, float]:
        """Scores of generated examples. Only process 0 has all of them; the others have the monitored one."""
        if self.scorer is None:
            return {}
        scores = {self.scorer.monitored: 0.0}
        with torch.no_grad(), evaluation_mode(self.trainer):
            if not self.trainer.runtime.rank:
                scores = self.scorer.quick_scores(self.scorer.draw(self.trainer.task.model))
        scores[self.scorer.monitored] = self.trainer.runtime.broadcast(scores[self.scorer.monitored])
        return scores

    def save(self, run: RunFolder) -> None:
        """Write a checkpoint, and remove older ones."""
        self.trainer.check_values()
        state = self.trainer.state()
        now = time.monotonic()
        self.seconds += now - self._now
        self._now = self._saved = now
        runtime = self.trainer.runtime
        if not runtime.rank:
            run.sync_metrics()
        best = self.best.state() if self.best else None
        page: dict[str, Any] = {"drawn": self.trainer.drawn, "best": best, "seconds": self.seconds}
        checkpoint.write(run.checkpoints, Checkpoint(self.trainer.round, state, page), runtime)
        if not runtime.rank:
            checkpoint.prune(run.checkpoints, self.best.round if self.best else None)

    def load(self, saved: Checkpoint) -> None:
        """Continue from a checkpoint."""
        self.trainer.load_state(saved.tensors, saved.round, saved.page["drawn"])
        self.seconds = saved.page.get("seconds", 0.0)
        if self.best is not None and saved.page["best"] is not None:
            self.best.load_state(saved.page["best"])


def _scorer(built: Built, runtime: Runtime, access: Access | None) -> GenerativeScorer | None:
    """Scores generated examples during training, if the recipe asks for it."""
    recipe = built.recipe
    if not isinstance(recipe, GenerativeRecipe) or not recipe.eval_samples:
        return None
    need(built.task.model, "sample")
    features = recipe.feature_extractor
    return GenerativeScorer(built.data, recipe.eval_samples, runtime, access, feature_extractor=features)


def _monitored(
    recipe: Recipe, better: Mapping[str, str], validated: bool, scorer: GenerativeScorer | None
) -> Best | None:
    """The score that selects the weights, or None: the one that the recipe names, else the first.

    Args:
        recipe: the recipe.
        better: the scores of the task, with "higher" or "lower".
        validated: whether there are validation examples.
        scorer: scores generated examples.

    Raises:
        UsageError: if there is no such score.
    """
    generated = {} if scorer is None else {scorer.monitored: "lower"}
    known = {**generated, **better}
    name = _full_name(recipe.monitor, generated) or next(iter(known), "none")
    if name == "none":
        if recipe.patience is not None:
            raise UsageError("patience needs a score to monitor, and this task has none")
        return None
    if name not in known:
        raise UsageError(f"monitor: there is no score named {name!r}; {nearest(name, [*known, 'none'])}")
    if not validated and name not in generated:
        if recipe.patience is not None or recipe.monitor is not None:
            setting = "patience" if recipe.patience is not None else "monitor"
            raise UsageError(f"{setting} needs validation examples; {recipe.data} has none with this split")
        return None
    return Best(name, known[name] == "higher", recipe.patience)


def _full_name(monitor: str | None, generated: Mapping[str, str]) -> str | None:
    """The full name of a score, given in full or only up to the bracket."""
    return next((name for name in generated if monitor and name.split("[")[0].lower() == monitor.lower()), monitor)
