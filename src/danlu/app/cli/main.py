"""The command line: run a command, and turn errors into a message and an exit code.

Exit codes: 0 success, 1 error, 2 usage error, 3 stopped, can be resumed. Neither this module nor the modules of the
commands import torch, so help and lists are fast.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from danlu.app.cli.other_words import own_command
from danlu.app.cli.run_command import bind, function_of
from danlu.app.cli.signature import arguments_of, page_argument, summary_of
from danlu.app.command_table import COMMANDS
from danlu.app.console.error_lines import explain
from danlu.app.console.matplotlib_import import ignore_matplotlibrc_here
from danlu.app.console.output import print_error, print_json, print_lines
from danlu.errors import UsageError, nearest

HELP = """\
danlu (丹炉): classic deep-learning models in one library.

usage: danlu COMMAND [arguments] [options]

commands:
{commands}

examples:
  danlu train cnn               train a model on the digits data set; model and report are saved in runs/
  danlu train cnn --help        settings of a recipe
  danlu COMMAND --help          arguments and options of a command

--debug prints the traceback of an error. --version prints the version.
Exit codes: 0 success, 1 error, 2 usage error, 3 the run was stopped and can be resumed."""


def program() -> NoReturn:
    """The program ``danlu``: as ``main``, with garbage collection off until the modules of the command are imported.

    Imports allocate many objects and leave hardly any garbage, so the collector would only cost time.
    """
    gc.disable()
    ignore_matplotlibrc_here()
    try:
        main()
    except Exception:  # with --debug
        print_lines(traceback.format_exc(), sys.stderr)
        sys.exit(1)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, io.StringIO())
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")  # for terminals without × or 丹炉
    words = [word for word in words if word != "--debug"]
    try:
        code = run(words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if debug:
            raise
        code, line = explain(error, known=_known_flags(words))
        print_error(line)
        if "--json" in words:
            print_json({"error": line, "exit_code": code})
    except KeyboardInterrupt:
        print_error("interrupted")
        code = 130
    except SystemExit as ended:  # invalid flags and values; the message is on standard error already
        code = ended.code if isinstance(ended.code, int) else 1
        if code and "--json" in words:
            print_json({"error": "invalid arguments; see standard error", "exit_code": code})
    if "TORCHELASTIC_RUN_ID" in os.environ and "danlu.app.runs.distributed" in sys.modules:  # one of several processes
        from danlu.app.runs.distributed import exit_process

        exit_process(0 if code == 3 else code)  # torchrun would restart a process that was stopped on purpose
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run one command, and return its exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        print_lines(HELP.format(commands="\n".join(f"  {name:<{width}}  {_summary(name)}" for name in COMMANDS)))
        return 0
    if words[0] in ("--version", "-V"):
        from importlib.metadata import version

        print_lines(f"danlu {version('danlu')}")
        return 0
    if words[0] not in COMMANDS:
        own = own_command(words[0], COMMANDS)
        hint = f"did you mean {own!r}?" if own else nearest(words[0], COMMANDS)
        raise UsageError(f"there is no command {words[0]!r}; {hint}")
    call = bind(words[0], words[1:])
    if not gc.isenabled():
        gc.freeze()  # the objects of imported modules stay; collections need not visit them
        gc.enable()
    return call()


def _known_flags(words: list[str]) -> set[str] | None:
    """The flags of a command for error messages; None if it also has those of all settings."""
    if not words or words[0] not in COMMANDS:
        return None
    function = function_of(words[0])
    return None if page_argument(function) else {flag for option in arguments_of(function) for flag in option.flags}


def _summary(name: str) -> str:
    """A command in one line, as its docstring begins."""
    line = summary_of(function_of(name))
    return line[0].lower() + line[1:]
