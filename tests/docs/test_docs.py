"""The examples of the documentation run and have the shown output; its links, names and commands exist.

A block ``python`` directly followed by a block ``text`` must print that text, in which ``...`` matches anything.
A block marked ``python no-run`` is not run.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import pytest

from danlu.app.cli.run_command import bind
from danlu.app.command_table import COMMANDS
from danlu.errors import UsageError

pytestmark = pytest.mark.usefixtures("few_examples")

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Block(NamedTuple):
    """A fenced block: its language, its text, the line where the text begins, and the position of its end."""

    kind: str
    text: str
    line: int
    end: int


FENCED = re.compile(r"^(?P<in> *)```(?P<kind>[^\n`]*)\n(?P<text>.*?)^(?P=in)```[ ]*$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[Block]:
    return [
        Block(
            found["kind"].strip(),
            re.sub(f"^{found['in']}", "", found["text"], flags=re.MULTILINE),
            page.count("\n", 0, found.start("text")) + 1,
            found.end(),
        )
        for found in FENCED.finditer(page)
    ]


def examples(page: str) -> Iterator[tuple[Block, str | None]]:
    """Each block to run, with its expected output."""
    all_blocks = blocks(page)
    for block, after in zip(all_blocks, [*all_blocks[1:], None], strict=False):
        if block.kind == "python":
            follows = after is not None and after.kind == "text" and page[block.end :].lstrip().startswith("```text")
            yield block, after.text if follows and after else None


def shell_commands(page: str) -> Iterator[list[str]]:
    """The arguments of each danlu command in a page."""
    for block in blocks(page):
        prompt = {"console": "$ ", "sh": ""}.get(block.kind.split(" ")[0])
        if prompt is None:
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith(prompt):
                yield from (words[1:] for words in simple_commands(line.removeprefix(prompt)) if words[0] == "danlu")


def simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a line, without redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in ("&&", "||", "|", ";", "&"):
            if words:
                yield words[: words.index(">")] if ">" in words else words
            words = []
        else:
            words.append(word)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


NAMES = re.compile(r"`((?:nn|losses|sampling|data|models|metrics|tasks|training|recipes|app)(?:\.\w+)+)`")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_examples_run_and_print_the_shown_output(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "example"}
    for block, expected in examples(page.read_text(encoding="utf-8")):
        code = "\n" * (block.line - 1) + block.text  # so that a traceback names the line of the page
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(code, str(page), "exec", dont_inherit=True), namespace)
        if expected is not None:
            same = OutputChecker().check_output(expected, output.getvalue(), ELLIPSIS | NORMALIZE_WHITESPACE)
            assert same, f"{page}:{block.line} expected\n{expected}\ngot\n{output.getvalue()}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_targets_of_links_and_images_exist(page):
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)|<img[^>]*\bsrc=\"([^\"]+)\"", prose)
    relative = [target for pair in targets for target in pair if target and not re.match(r"[a-z]+:|#", target)]
    missing = [target for target in relative if not (page.parent / target.partition("#")[0]).exists()]
    assert not missing, f"{page} has links to files that do not exist: {missing}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_names_of_the_code_exist(page):
    for name in NAMES.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if not name.endswith((".py", ".jsonl")):
            resolve_name(f"danlu.{name}")


def test_files_named_in_the_contributing_page_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = [
        path for path in re.findall(r"`([\w./-]+\.(?:py|pyi|md|yml|jinja))`", page) if not re.search("[A-Z]{4}", path)
    ]
    folders = (ROOT, ROOT / "src/danlu", ROOT / "tests")
    assert [path for path in paths if not any((folder / path).exists() for folder in folders)] == []
    assert "training/checkpoint.py" in paths


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_exist(page):
    """A command that is an error must be shown with its error message."""
    text = page.read_text(encoding="utf-8")
    for verb, *words in shell_commands(text):
        if verb.startswith("-"):
            assert verb in ("--help", "--version", "--debug"), f"danlu {verb}"
            continue
        assert verb in COMMANDS, f"danlu {verb}"
        words = [word for word in words if word != "--debug"]
        if verb in ("train", "show", "summary"):
            words = ["cnn" if word.endswith(".yaml") else word for word in words]
        with valid_arguments(f"danlu {shlex.join([verb, *words])}", text):
            bind(verb, words)


@contextlib.contextmanager
def valid_arguments(command: str, page: str) -> Iterator[None]:
    """Check that the arguments of a command, which are parsed in this context, are valid."""
    code = None
    with contextlib.redirect_stderr(io.StringIO()) as complaint:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except SystemExit as end:  # help ends so too
            code = end.code
        except UsageError as error:
            code = f"danlu: {error}" not in page and str(error)
    assert not code, f"{command}\n{code}\n{complaint.getvalue()}"


@pytest.mark.parametrize(
    "page",
    [
        "```sh\ndanlu train cnn --lrr 1\n```",
        "```sh\ndanlu train cn\n```",
        "```sh\ndanlu list --jsonn\n```",
        "```console\n$ danlu trian cnn\n```",
        "```console\n$ danlu train cnn --lr -1\n```",
    ],
)
def test_a_wrong_command_is_found(page, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(AssertionError, match="danlu"):
        test_commands_exist(path)


def test_blocks_are_found_with_their_output():
    page = "a\n```python\nprint(1)\n```\n\n```text\n1\n```\n```python\nx = 1\n```\nwords\n```text\n2\n```\n"
    assert [(block.text, block.line, expected) for block, expected in examples(page)] == [
        ("print(1)\n", 3, "1\n"),
        ("x = 1\n", 10, None),
    ]
    assert list(shell_commands("```console\n$ pip x && danlu show cnn > a.yaml  # words\ndanlu no\n```")) == [
        ["show", "cnn"]
    ]
