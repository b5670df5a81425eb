"""Running text: parts cut before anything is tokenized, official texts as published, and tokens kept in the cache."""

import gzip
import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
import torch

from danlu.data import PARTS, TrainingData
from danlu.data.kinds import info_from_json
from danlu.data.survey.survey import compute_survey
from danlu.data.survey.text import token_counts
from danlu.data.text import token_cache
from danlu.data.text.info import TextInfo
from danlu.data.text.text_files import document, read, split_documents, whole
from danlu.errors import RunError, UsageError
from danlu.storage import Access

DATA = Path(os.environ.get("DANLU_DATA", "nowhere"))
needs_data = pytest.mark.skipif(
    not (DATA / "ptb").is_dir(), reason="DANLU_DATA names no folder with the official files"
)
LINES = "".join(f"line {k % 7} of a poem\n" for k in range(100))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))


def load(name, access=None, split=None, **page):
    return TrainingData.model_validate({"data": name, "text": page, "split": split or {}}).load(access)


def written(tmp_path, content, name="t.txt"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"text:{path}"


def text_of(data, part):
    return data.tokenizer.decode(data.part(part).fields["token"].long())


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["characters", "words", "bpe"])
def test_parts_are_the_text_in_order_each_cut_at_the_end_of_a_line(kind, tmp_path):
    data = load(written(tmp_path, LINES), tokens=kind, vocabulary=300)
    texts = [text_of(data, part) for part in PARTS]
    assert "".join(texts) == LINES
    assert all(text.endswith("\n") for text in texts)
    ends = [len(texts[0]), len(texts[0]) + len(texts[1])]
    for end, fraction in zip(ends, (0.7, 0.8), strict=True):
        assert 0 <= end - fraction * len(LINES) <= len("line 99 of a poem\n")
    assert data.info == TextInfo((), vocabulary=data.tokenizer.vocabulary, tokens=kind)
    assert info_from_json(data.info.to_json()) == data.info


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_share_nothing_and_lack_nothing_wherever_documents_end(size):
    documents = [document(str(k), f"{k}é\n".encode() * k) for k in range(1, size + 1)]
    together = b"".join(d.content for d in documents)
    for fractions in ((0.7, 0.1, 0.2), (0.5, 0.0, 0.5), (0.9, 0.1, 0.0), (1.0, 0.0, 0.0)):
        parts = split_documents(documents, fractions)
        found = [b"".join(d.content[start:stop] for d, start, stop in part) for part in parts]
        assert b"".join(found) == together
        assert all(not part or part.endswith(b"\n") for part in found)
        assert all(fraction or not part for part, fraction in zip(found, fractions, strict=True))


def test_a_text_of_one_line_is_cut_between_words_or_else_between_characters():
    words = document("w", b"anarchism originated as a term of abuse")
    first, second = split_documents([words], (0.5, 0.5))
    assert (first[0].stop, words.content[: first[0].stop]) == (21, b"anarchism originated ")
    signs = document("s", "日本語".encode() * 4)
    assert [span.stop % 3 for part in split_documents([signs], (0.55, 0.45)) for span in part] == [0, 0]
    assert second[0].start == 21


def test_the_tokenizer_sees_the_training_part_alone(tmp_path):
    data = load(written(tmp_path, "a b\n" * 80 + "c\n" * 40), tokens="words")
    assert set(data.tokenizer.words) == {"a", "b", "<unk>", "<eos>"}
    assert int((data.test["token"] == data.tokenizer.unknown).sum()) == 40
    assert any("<unk>" in problem for problem in compute_survey(data).problems)


def test_a_character_that_training_lacks_is_named_with_file_and_line(tmp_path):
    name = written(tmp_path, "ab\n" * 90 + "a€\n" + "ab\n" * 9)
    with pytest.raises(
        UsageError,
        match=r"t\.txt, line 91: '€' \(U\+20AC\) is not in the vocabulary; .*text\.min_count to 2.*text\.tokens to bpe",
    ):
        load(name)
    data = load(name, min_count=2)
    assert text_of(data, "test").count("\ufffd") == 1
    assert load(name, tokens="bpe").tokenizer.decode(load(name, tokens="bpe").test["token"]).count("€") == 1


def test_files_of_a_folder_come_in_order_and_lines_of_two_never_join(tmp_path):
    for name, content in (
        ("b.txt", "second\n"),
        ("a/z.txt", "first"),
        ("c.md", "no"),
        ("c.txt", "third"),
        (".h.txt", "x"),
    ):
        written(tmp_path / "d", content, name)
    documents = load(f"text:{tmp_path / 'd'}", split={"validation": 0.0, "test": 0.0})
    assert text_of(documents, "train") == "first\nsecond\nthird"
    assert documents.name == "text:d"


NAMES = ("train", "valid", "test")


@pytest.mark.parametrize("pattern", ["{}.txt", "ptb.{}.txt", "wiki.{}.tokens"])
def test_files_named_after_parts_are_the_parts(pattern, tmp_path):
    texts = [f"{name} {k} of abcdefghijklmnopqrstuvwxyz\n" * 9 for k, name in enumerate(NAMES)]
    for name, content in zip(NAMES, texts, strict=True):
        written(tmp_path, content, pattern.format(name))
    written(tmp_path, "not to be read", "about.txt")
    data = load(f"text:{tmp_path}", tokens="words")
    unseen = "<unk> <unk> of abcdefghijklmnopqrstuvwxyz\n" * 9
    assert [text_of(data, part) for part in PARTS] == [texts[0], unseen, unseen]
    files = [pattern.format(name) for name in NAMES]
    assert data.notes[0] == f"train is {files[0]}; validation is {files[1]}; test is {files[2]}"
    assert data.notes[1] == "1 other text file is not used: about.txt"


@pytest.mark.parametrize("lacks", ["valid", "test"])
def test_a_part_without_a_file_is_the_end_of_the_training_file(lacks, tmp_path):
    has, missing = ("valid", "test")[lacks == "valid"], {"valid": "validation"}.get(lacks, lacks)
    written(tmp_path, LINES, "train.txt")
    written(tmp_path, "line 3 of a poem\n" * 3, f"{has}.txt")
    data = load(f"text:{tmp_path}", split={missing: 0.25})
    assert text_of(data, "train") + text_of(data, missing) == LINES
    assert 0 <= len(text_of(data, "train")) - 0.75 * len(LINES) <= len("line 3 of a poem\n")
    assert text_of(data, {"valid": "validation"}.get(has, has)) == "line 3 of a poem\n" * 3
    assert f"{missing} is the end of the training file" in data.notes[0]
    assert len(load(f"text:{tmp_path}", split={missing: 0.0}).part(missing)) == 0


def test_one_file_that_is_called_train_is_a_text_like_others(tmp_path):
    written(tmp_path, "a\n" * 50, "train.txt")
    written(tmp_path, "b\n" * 50, "boat.txt")
    assert text_of(load(f"text:{tmp_path}", split={"validation": 0, "test": 0}), "train") == "b\n" * 50 + "a\n" * 50


@pytest.mark.parametrize(
    ("files", "split", "words"),
    [
        (("valid.txt", "test.txt"), {}, "has test.txt, valid.txt but no training file"),
        (("train.txt", "valid.txt", "val.txt"), {}, "has two files for the validation part, val.txt and valid.txt"),
        (("a.train.txt", "a.test.txt", "b.train.txt", "b.test.txt"), {}, "the parts of several texts"),
        (("train.txt", "test.txt"), {"test": 0.5}, "split.test has no effect: test.txt is the test part; leave it out"),
        (("train.txt", "test.txt"), {"seed": 1}, "split.seed has no effect"),
        (
            ("train.txt", "test.txt", "x.valid.txt"),
            {"validation": 0.05},
            "the validation part would be empty .a fraction of 0.05 of 42 bytes",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_told(files, split, words, tmp_path):
    for name in files:
        written(tmp_path, "a line\n" * 3, name)
    with pytest.raises(UsageError, match=words):
        load(f"text:{tmp_path}", split=split)


def test_an_empty_part_is_told(tmp_path):
    written(tmp_path, "a line\n", "train.txt")
    written(tmp_path, "", "test.txt")
    with pytest.raises(UsageError, match=r"test\.txt is the test part, but it is empty"):
        load(f"text:{tmp_path}")


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "shift_jis", "utf-8-sig", "cp1252"])
def test_other_encodings_are_read(encoding, tmp_path):
    text = {"gbk": "我爱苹果\n", "shift_jis": "日本語\n"}.get(encoding, "größe\n") * 30
    name = written(tmp_path, text.encode(encoding))
    data = load(name, encoding=encoding)
    assert "".join(text_of(data, part) for part in PARTS) == text


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_characters_are_whole_wherever_a_piece_ends(size, monkeypatch):
    monkeypatch.setattr("danlu.data.text.text_files.PIECE", size)
    text = "aé日𝄞\n" * 5
    told = []
    pieces = list(read([whole(document("t", text.encode()))], "utf-8", lambda *said: told.append(said[1:])))
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.line for piece in pieces if piece.text] == sorted(piece.line for piece in pieces if piece.text)
    assert told[-1] == (len(text.encode()),) * 2
    content = text.encode() + b"ab\xffc"
    with pytest.raises(UsageError, match=rf"t, line 6: byte {content.index(0xFF)} of the file is 0xff"):
        list(read([whole(document("t", content))], "utf-8", lambda *_: None))
    with pytest.raises(UsageError, match=rf"t, line 6: byte {len(text.encode())} of the file is 0xe6"):
        list(read([whole(document("t", text.encode() + b"\xe6\x97"))], "utf-8", lambda *_: None))


# --- known texts ------------------------------------------------------------------------------------------------------


@needs_data
def test_ptb_is_as_published():
    data = load("ptb")
    assert [len(data.part(part)) for part in PARTS] == [929_589, 73_760, 82_430]
    assert (data.info.vocabulary, data.info.tokens) == (10_000, "words")
    ends = [int((data.part(part)["token"] == data.tokenizer.end_of_line).sum()) for part in PARTS]
    assert ends == [42_068, 3_370, 3_761]
    assert text_of(data, "train").startswith("aer banknote berlitz calloway")
    counts = token_counts(data.train, 10_000)
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)
    assert data.tokenizer.words[0] == "the"


@needs_data
def test_ptb_has_the_checksums_that_others_publish():
    from danlu.data.datasets.ptb_shakespeare import PTB, contents_of

    contents = dict(contents_of(PTB, Access()))
    published = {"train": "f26c4b92c5fdc7b3f8c7cdcb991d8420", "test": "8b80168b89c18661a38ef683c0dc3721"}
    for part, digest in published.items():
        assert hashlib.md5(contents[f"ptb.{part}.txt"]).hexdigest() == digest


@needs_data
def test_tiny_shakespeare_is_cut_as_usual():
    data = load("tiny-shakespeare")
    assert [len(data.part(part)) for part in PARTS] == [1_003_854, 111_540, 0]
    assert data.info.vocabulary == 65
    text = (DATA / "tiny-shakespeare" / "input.txt").read_text()
    assert text_of(data, "train") == text[: int(len(text) * 0.9)]
    assert text_of(data, "validation") == text[int(len(text) * 0.9) :]


def test_official_texts_may_be_damaged_compressed_or_missing(tmp_path):
    from danlu.data.datasets.ptb_shakespeare import PTB

    folder = tmp_path / "data" / "ptb"
    folder.mkdir(parents=True)
    for file in PTB.files:
        (folder / f"{file.name}.gz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(RunError, match=r"ptb\.train\.txt\.gz cannot be read"):
        load("ptb", Access(tmp_path / "data", download=False))
    for file in PTB.files:
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(b"another text"))
    with pytest.raises(RunError, match=r"ptb\.train\.txt\.gz is not the official ptb\.train\.txt; remove it"):
        load("ptb", Access(tmp_path / "data", download=False))
    for file in PTB.files:
        (folder / f"{file.name}.gz").unlink()
        (folder / file.name).write_bytes(b"no\n")
    with pytest.raises(RunError, match=r"ptb\.train\.txt is not the official file"):
        load("ptb", Access(tmp_path / "data", download=False))
    with pytest.raises(RunError, match="were not found"):
        load("tiny-shakespeare", Access(tmp_path / "data", download=False))


def test_pydoc_comes_with_python():
    data = load("pydoc")
    text = "".join(text_of(data, part) for part in PARTS)
    assert len(text) > 300_000
    assert set(text) <= {chr(k) for k in range(32, 127)} | {"\n"}
    assert "An expression" in text
    assert data.fingerprint() == load("pydoc").fingerprint()


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("pydoc", {"text": {"encoding": "latin-1"}}, "text.encoding has no effect on pydoc"),
        ("pydoc", {"split": {"seed": 1}}, "split.seed has no effect on running text"),
        ("pydoc", {"images": {"size": (3,)}}, "images.size has no effect on pydoc"),
        ("ptb", {"split": {"test": 0.3}}, "split.test has no effect: its parts are official"),
        ("tiny-shakespeare", {"split": {"validation": 0.3}}, "split.validation has no effect"),
        (
            "digits",
            {"text": {"tokens": "bpe", "min_count": 2}},
            "text.tokens, text.min_count have no effect on digits",
        ),
        ("pydoc:x", {}, "the data set pydoc takes no argument"),
        ("text", {}, "the data set text needs the path"),
    ],
)
def test_settings_that_do_nothing_are_refused(name, settings, said):
    with pytest.raises(UsageError, match=said):
        TrainingData.model_validate({"data": name, **settings}).load()


# --- the cache --------------------------------------------------------------------------------------------------------


def entries(tmp_path):
    return sorted(path for path in (tmp_path / "cache" / "texts").glob("*") if path.name[0] != ".")


@pytest.mark.parametrize("kind", ["characters", "words", "bpe"])
def test_tokens_in_the_cache_are_those_in_memory(kind, tmp_path, monkeypatch):
    name = written(tmp_path, LINES + "日本\n" * 100)
    page = {"tokens": kind, "min_count": 1 + (kind == "characters")}
    monkeypatch.setattr(token_cache, "SMALL", 0)
    cached = load(name, **page)
    assert cached.train.sources
    assert len(entries(tmp_path)) == 1
    monkeypatch.setattr(token_cache, "learn", None)  # nothing is learnt again
    again = load(name, **page)
    monkeypatch.undo()
    monkeypatch.setenv("DANLU_CACHE", "/dev/null/none")
    memory = load(name, **page)
    assert not memory.train.sources
    assert cached.fingerprint() == again.fingerprint() == memory.fingerprint()
    assert bool(memory.notes) == (kind == "bpe")


def test_changed_tokens_are_noticed_although_size_and_time_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, "SMALL", 0)
    name = written(tmp_path, LINES)
    right = load(name).train.fields["token"].clone()
    path = entries(tmp_path)[0] / "tokens.bin"
    state = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert torch.equal(load(name).train.fields["token"], right)


def test_an_entry_is_made_anew_when_the_text_or_a_setting_changes_or_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, "SMALL", 0)
    name = written(tmp_path, LINES)
    first = load(name)
    assert load(name).fingerprint() == first.fingerprint()
    load(name, tokens="words")
    assert len(entries(tmp_path)) == 2
    written(tmp_path, LINES.replace("poem", "song"))
    other = load(name)
    assert other.fingerprint() != first.fingerprint()
    assert len(entries(tmp_path)) == 3
    for entry in entries(tmp_path):
        for damaged in ("tokens.bin", "tokenizer.json", "page.json"):
            content = (entry / damaged).read_bytes()
            (entry / damaged).write_bytes(content[:-1])
            assert load(name).fingerprint() == other.fingerprint()
            written(tmp_path, LINES.replace("poem", "song"))  # with new times, and so another entry
            other = load(name)


def test_a_large_text_is_never_in_memory_as_a_whole(tmp_path, monkeypatch):
    """Pieces stay small, and so does what is held of them."""
    monkeypatch.setattr(token_cache, "SMALL", 0)
    monkeypatch.setattr("danlu.data.text.text_files.PIECE", 1000)
    longest = []
    real = token_cache.at_seams

    def watched(pieces):
        for piece in real(pieces):
            longest.append(len(piece))
            yield piece

    monkeypatch.setattr(token_cache, "at_seams", watched)
    data = load(written(tmp_path, LINES * 100), tokens="words")
    assert max(longest) < 2100
    assert text_of(data, "train") + text_of(data, "validation") + text_of(data, "test") == LINES * 100


# --- what it looks like -----------------------------------------------------------------------------------------------


def test_a_survey_counts_a_text(tmp_path):
    data = load(written(tmp_path, LINES), tokens="words", vocabulary=6)
    seen = compute_survey(data)
    texts = {part: text_of(data, part) for part in PARTS}
    assert seen.text["characters"] == {part: len(text) for part, text in texts.items()}
    assert seen.examples == {part: len(data.part(part)) for part in PARTS}
    words = Counter(data.tokenizer.token(int(t)) for t in data.train["token"])
    assert dict(map(tuple, seen.text["commonest"])) == words
    assert seen.text["unknown"]["train"] == pytest.approx(words["<unk>"] / len(data.train))
    assert seen.text["begin"][:2] == texts["train"].split("\n")[:2]
    assert any("of the" in problem for problem in seen.problems)
    assert torch.equal(token_counts(data.train, 6), data.train["token"].long().bincount(minlength=6))


def test_two_texts_of_equal_numbers_differ_in_their_fingerprint(tmp_path):
    one, two = (load(written(tmp_path, f"{sign}\n" * 40, f"{sign}.txt")) for sign in "ab")
    assert torch.equal(one.train["token"], two.train["token"])
    assert one.fingerprint() != two.fingerprint()
