"""Which texts are scored, and in which units."""

import math

import torch

from danlu.data import Part, learn_characters, learn_words
from danlu.evaluation.text_scores import reads, text_scores
from danlu.models import LanguageModel


def test_a_text_of_one_token_has_nothing_to_predict():
    model = LanguageModel(5, width=4)
    assert [reads(model, Part({"token": torch.zeros(n, dtype=torch.long)})) for n in (1, 2)] == [False, True]


def test_bits_are_given_where_tokens_represent_the_text_exactly():
    text = "a b a b b a"
    characters, words = learn_characters(text), learn_words(text)
    for tokenizer, exact in ((characters, True), (words, False)):
        model = LanguageModel(tokenizer.vocabulary, width=4).eval()
        model.tokenizer = tokenizer
        tokens = tokenizer.encode(text)
        scores = text_scores(model, Part({"token": tokens}))
        assert ("bits_per_byte" in scores) == exact == (tokenizer.unknown is None)
        assert scores["perplexity"] == torch.tensor(scores["cross_entropy"], dtype=torch.float64).exp()
        if exact:  # one byte and one character for each token that is predicted
            assert math.isclose(scores["bits_per_character"], scores["cross_entropy"] / math.log(2), rel_tol=1e-9)
