"""The command line: find the verb, run it, turn errors into one line and an exit code.

Exit codes: 0 well, 1 failed, 2 wrong use, 3 stopped and can be resumed. Only the verb's own module is imported, so
that help and lists answer at once.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from danlu.app.cli.command_table import COMMANDS
from danlu.app.console.error_lines import explain
from danlu.errors import UsageError, nearest

HELP = """\
danlu (丹炉): the classic deep-learning models in one library.

usage: danlu VERB …

{verbs}

  danlu train cnn               train on the embedded digits, with report and model in runs/
  danlu train cnn --help        every setting of a recipe
  danlu VERB --help             what a verb takes

--debug shows where an error comes from. --version says which danlu this is.
Exit codes: 0 well, 1 failed, 2 wrong use, 3 stopped and can be resumed."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, io.StringIO())
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")  # a terminal without × or 丹炉 is no reason to fail
    words = [word for word in words if word != "--debug"]
    try:
        code = run(words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, head for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if debug:
            raise
        code, line = explain(error)
        print(f"danlu: {line}", file=sys.stderr)
        if "--json" in words:
            print(json.dumps({"error": line, "exit_code": code}, ensure_ascii=False))
    except KeyboardInterrupt:
        print("danlu: interrupted", file=sys.stderr)
        code = 130
    except SystemExit as ended:  # wrong flags and values, which are explained on standard error already
        code = ended.code if isinstance(ended.code, int) else 1
        if code and "--json" in words:
            print(json.dumps({"error": "wrong use; standard error says what", "exit_code": code}))
    if "TORCHELASTIC_RUN_ID" in os.environ and "danlu.app.runs.distributed" in sys.modules:  # one of several processes
        from danlu.app.runs.distributed import leave

        leave(0 if code == 3 else code)  # who was asked to stop is not to be started again
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run one verb; the exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        verbs = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
        print(HELP.format(verbs=verbs))
        return 0
    if words[0] in ("--version", "-V"):
        from importlib.metadata import version

        print(f"danlu {version('danlu')}")
        return 0
    if words[0] not in COMMANDS:
        raise UsageError(f"there is no command {words[0]!r}; {nearest(words[0], COMMANDS)}")
    module, attribute = COMMANDS[words[0]].run.split(":")
    command: Callable[[list[str]], int] = getattr(import_module(module), attribute)
    return command(words[1:])
