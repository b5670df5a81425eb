"""Words of other tools for commands and options, which error messages answer with danlu's own word.

danlu has one name for each thing: the words of other tools are suggestions in messages, and are not accepted.
"""

from __future__ import annotations

from collections.abc import Collection

_COMMANDS = {
    "fit": "train",
    "learn": "train",
    "run": "train",
    "finetune": "train",
    "fine-tune": "train",
    "generate": "sample",
    "test": "evaluate",
    "eval": "evaluate",
    "validate": "evaluate",
    "ls": "list",
    "models": "list",
    "recipes": "list",
    "info": "show",
    "describe": "show",
    "datasets": "data",
    "continue": "resume",
    "restart": "resume",
    "convert": "export",
    "benchmark": "experiment",
    "infer": "classify",
    "inference": "classify",
}
_FLAGS = {
    "batch": "--batch-size",
    "bs": "--batch-size",
    "epoch": "--epochs",
    "num-epochs": "--epochs",
    "n-epochs": "--epochs",
    "learning-rate": "--lr",
    "optim": "--optimizer",
    "opt": "--optimizer",
    "wd": "--weight-decay",
    "output": "--out",
    "output-dir": "--out",
    "out-dir": "--out",
    "save-dir": "--out",
    "dataset": "--data",
    "random-state": "--seed",
    "random-seed": "--seed",
    "manual-seed": "--seed",
    "num-threads": "--threads",
    "gpu": "--device cuda",
    "gpus": "--devices",
    "cuda": "--device cuda",
    "cpu": "--device cpu",
    "no-cuda": "--device cpu",
    "force": "--overwrite",
    "num-samples": "--count",
    "n-samples": "--count",
}


def own_command(word: str, commands: Collection[str]) -> str | None:
    """danlu's command for a word of other tools, or for a command in capitals; None if there is none.

    >>> own_command("fit", ["train"]), own_command("Train", ["train"]), own_command("zebra", ["train"])
    ('train', 'train', None)
    """
    lower = word.lower().replace("_", "-")
    name = lower if lower in commands else _COMMANDS.get(lower)
    return name if name in commands else None


def own_flag(flag: str, flags: Collection[str]) -> str | None:
    """danlu's option for a flag of other tools, or for a flag in capitals; None if there is none among the flags.

    Args:
        flag: with or without leading dashes.
        flags: the options of the command.

    >>> own_flag("--learning-rate", ["--lr"]), own_flag("--gpu", ["--device"]), own_flag("lr", ["--lr"])
    ('--lr', '--device cuda', '--lr')
    >>> own_flag("--gpu", ["--json"]) is None
    True
    """
    name = flag.lstrip("-").lower().replace("_", "-")
    own = f"--{name}" if f"--{name}" in flags else _FLAGS.get(name)
    return own if own is not None and own.partition(" ")[0] in flags else None
