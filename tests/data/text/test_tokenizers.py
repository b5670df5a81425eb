"""Tokenizers: what goes in comes out, what is learnt is what was published, and others can read the file."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Foreign

from commands import start_code
from danlu.data import BytePairs, Characters, Words, from_json, learn, learn_byte_pairs, learn_characters, learn_words
from danlu.data.text.bpe import segments
from danlu.data.text.text_files import Piece, at_seams
from danlu.data.text.tokenizer_files import load, save
from danlu.data.text.tokenizers import UnknownCharacter, words_of
from danlu.errors import RunError, UsageError

SIGNS = "ab Z09'’.,\n\n\r\t\u2028\u3000\x85日本𝄞é\u0301é�"
TEXT = "the cat sat on the mat\nthe dog's  bone,\r\nand\n\n  the 日本 cat\n"


def texts(count=60, longest=40, signs=SIGNS):
    draw = random.Random(0)
    return ["", *("".join(draw.choices(signs, k=draw.randrange(longest))) for _ in range(count))]


# --- what goes in comes out -------------------------------------------------------------------------------------------


def test_bytes_come_back_whatever_the_text():
    tokenizer = learn_byte_pairs([TEXT], vocabulary=300)
    for text in [*texts(), "<|endoftext|><unk>", "\0\x01", "x" * 10_000, " \n" * 5000, "日" * 5000]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_characters_come_back_whatever_the_text():
    tokenizer = learn_characters([SIGNS, "\U0010ffff\0"])
    for text in [*texts(), "\U0010ffff\0"]:
        tokens = tokenizer.encode(text)
        assert [tokenizer.token(int(t)) for t in tokens] == list(text)
        assert tokenizer.decode(tokens) == tokenizer.decode(tokens.tolist()) == text


def test_tokens_of_words_come_back():
    tokenizer = learn_words([TEXT])
    for text in [TEXT, "", "\n", "the\n\n cat", "zebra <unk> <eos> the\n", *texts()]:
        tokens = tokenizer.encode(text)
        assert torch.equal(tokenizer.encode(tokenizer.decode(tokens)), tokens)
    assert tokenizer.decode(tokenizer.encode("the  cat \n\n mat")) == "the cat\n\nmat"


def test_no_token_may_be_a_line_by_accident():
    tokenizer = Words(["a<eos>b", "<eos>", "<unk>"])
    assert tokenizer.decode([0, 1, 0]) == "a<eos>b\na<eos>b"


def test_a_character_that_was_never_seen_is_named_with_its_place():
    tokenizer = learn_characters(["abc\n "])
    with pytest.raises(UnknownCharacter, match=r"line 3, column 2 of the text: '€' \(U\+20AC\) is not in") as caught:
        tokenizer.encode("ab\nc\na€c€")
    assert (caught.value.character, caught.value.line, caught.value.column) == ("€", 3, 2)
    with pytest.raises(UnknownCharacter, match=r"line 1, column 1 of the text: the character \(U\+0007\)"):
        tokenizer.encode("\a")
    with pytest.raises(UnknownCharacter, match=r"U\+10FFFF"):
        tokenizer.encode("\U0010ffff")


def test_unknown_characters_share_a_token_when_some_are_rare():
    tokenizer = learn_characters(["aaabbc"], min_count=2)
    assert tokenizer.unknown == 0
    assert tokenizer.decode(tokenizer.encode("abcz")) == "ab\ufffd\ufffd"
    assert learn_characters(["aaabbc"], vocabulary=2).characters == ["<unk>", "a"]


@pytest.mark.unchecked
def test_half_a_surrogate_pair_is_refused_in_a_line():
    with pytest.raises(UsageError, match="cannot be encoded in UTF-8"):
        learn_byte_pairs([TEXT], 260).encode("a\ud800")


@pytest.mark.unchecked
@pytest.mark.parametrize("make", [lambda: Characters("aa"), lambda: Characters(["ab"]), lambda: Words(["a", "b"])])
def test_a_vocabulary_that_cannot_be_is_refused(make):
    with pytest.raises(ValueError, match="distinct"):
        make()


# --- what is learnt ---------------------------------------------------------------------------------------------------


def test_words_are_the_commonest_and_the_rest_is_unknown():
    counts = Counter(words_of(TEXT))
    tokenizer = learn_words([TEXT], vocabulary=5)
    known = [word for word in tokenizer.words if word not in ("<unk>", "<eos>")]
    others = [count for word, count in counts.items() if word not in known and word != "<eos>"]
    assert tokenizer.vocabulary == 5
    assert min(counts[word] for word in known) >= max(others)
    ranks = [counts[word] if word != "<unk>" else sum(others) for word in tokenizer.words]
    assert ranks == sorted(ranks, reverse=True)
    assert int((tokenizer.encode(TEXT) == tokenizer.unknown).sum()) == sum(others)


def test_min_count_of_words():
    assert set(learn_words(["a a a b b c\n"], min_count=2).words) == {"a", "b", "<unk>", "<eos>"}


def test_pairs_are_joined_as_the_published_algorithm_joins_them():
    """Sennrich et al. 2016, algorithm 1, over bytes, by a direct loop."""
    words = Counter({"low": 5, "lower": 2, "newest": 6, "widest": 3})
    text = " ".join(word for word, count in words.items() for _ in range(count))
    tokenizer = learn_byte_pairs([text], vocabulary=256 + 4)
    cut = Counter({tuple(" " + word): count for word, count in words.items()})
    cut[tuple("low")], cut[tuple(" low")] = 1, 4  # the first word has no space before it
    for _ in range(4):
        pairs = Counter()
        for word, count in cut.items():
            for pair in pairwise(word):
                pairs[pair] += count
        most = pairs.most_common(1)[0][1]
        assert any("".join(pair) in pieces(tokenizer) for pair, count in pairs.items() if count == most)
        joined = next(pair for pair, count in pairs.items() if count == most and "".join(pair) in pieces(tokenizer))
        cut = Counter({join(word, joined): count for word, count in cut.items()})


def pieces(tokenizer):
    return {tokenizer.token(number) for number in range(tokenizer.vocabulary)}


def join(word, pair):
    found, k = [], 0
    while k < len(word):
        step = 2 if tuple(word[k : k + 2]) == pair else 1
        found.append("".join(word[k : k + step]))
        k += step
    return tuple(found)


def test_byte_pairs_need_the_bytes():
    with pytest.raises(UsageError, match=r"text\.vocabulary must be at least 256"):
        learn_byte_pairs([TEXT], vocabulary=255)
    assert learn_byte_pairs([TEXT], vocabulary=256).vocabulary == 256


def test_byte_pairs_are_the_same_in_another_process():
    code = f"from danlu.data.text.bpe import learn_byte_pairs as f; print(f([{TEXT!r} * 3], 400).to_json())"
    assert start_code(code).ended().strip() == learn_byte_pairs([TEXT * 3], 400).to_json()


# --- a text in pieces has the tokens of the whole ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_pieces_have_the_tokens_of_the_whole(kind):
    draw = random.Random(1)
    for text in [*texts(80, 60, "ab' \n\n\r.日\u3000"), TEXT * 3]:
        tokenizer = learn(kind, [TEXT])
        cuts = sorted(draw.randrange(len(text) + 1) for _ in range(4))
        given = [Piece(text[a:b], "t", 1) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        found = list(at_seams(iter(given)))
        assert "".join(found) == text
        whole = tokenizer._tokenizer.encode(text).ids if kind == "bpe" else tokenizer.encode(text).tolist()
        assert [token for piece in found for token in tokenizer.encode(piece).tolist()] == whole


def test_segments_have_the_tokens_of_the_whole():
    tokenizer = learn_byte_pairs([TEXT], 300)
    text = (TEXT + "  \r\n x\n\n\n y \r\n\r\nz") * 300
    assert len(list(segments(text))) > 3
    assert tokenizer.encode(text).tolist() == tokenizer._tokenizer.encode(text).ids


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["characters", "words", "bpe"])
def test_a_file_brings_it_back_and_opens_in_the_package_tokenizers(kind, tmp_path):
    tokenizer = learn(kind, [TEXT, "<unk> "])
    save(tokenizer, tmp_path / "tokenizer.json")
    again = load(tmp_path / "tokenizer.json")
    foreign = Foreign.from_file(str(tmp_path / "tokenizer.json"))
    assert (again.kind, again.vocabulary, again.unknown) == (kind, tokenizer.vocabulary, tokenizer.unknown)
    assert foreign.get_vocab_size() == tokenizer.vocabulary
    draw = random.Random(2)
    for text in ["".join(draw.choices(sorted(set(TEXT)), k=50)) for _ in range(20)] + [TEXT]:
        tokens = tokenizer.encode(text)
        assert torch.equal(again.encode(text), tokens)
        assert foreign.encode(text).ids == tokens.tolist()
        if kind != "words":
            assert foreign.decode(tokens.tolist()) == text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x1f\x8b\x08", "it looks like a gzip archive"),
        (b"<html>", "it looks like a web page"),
        (b"{}", "it has no model"),
        (
            b'{"model": {"type": "Unigram"}, "pre_tokenizer": null}',
            "the model Unigram and the pre-tokenizer None",
        ),
        (b'{"model": {"type": "WordLevel", "vocab": {"a": 1}}, "pre_tokenizer": {"type": "Split"}}', "numbered from 0"),
        (
            b'{"model": {"type": "BPE"}, "pre_tokenizer": {"type": "ByteLevel"}}',
            "not a supported tokenizer: its decoder is not ByteLevel",
        ),
        (b"[1]", "it has no model"),
    ],
)
def test_what_is_no_tokenizer_is_told_so(content, said, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=said):
        load(path)
    with pytest.raises(RunError, match="cannot be read"):
        load(tmp_path / "none.json")


def test_a_foreign_byte_level_tokenizer_is_read():
    """One with a token of its own at the end, as GPT-2's has."""
    own = learn_byte_pairs([TEXT], 300)
    foreign = Foreign.from_str(own.to_json())
    foreign.add_special_tokens(["<|endoftext|>"])
    read = from_json(foreign.to_str())
    assert isinstance(read, BytePairs)
    assert read.encode("the cat<|endoftext|>").tolist() == [*own.encode("the cat").tolist(), own.vocabulary]
    assert read.decode([own.vocabulary]) == "<|endoftext|>"
    assert np.array_equal(read.encode(TEXT), own.encode(TEXT))
