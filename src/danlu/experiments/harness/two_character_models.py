"""Models of two-character words, small enough to check a search by hand."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.sampling.decoding.beam_search import beam_search
from danlu.sampling.decoding.generate import SamplingOptions, generate

NOTES = {"苹果": 0.45, "大象": 0.10, "大人": 0.08, "大妈": 0.12, "大便": 0.05, "大军": 0.05, "大米": 0.08, "大姐": 0.07}
"""probabilities of the words after 我爱 in the lecture notes, section 3.4.3.2"""
TRAP = {"苹果": 0.30, **{"大" + c: 0.09 for c in "象人妈米"}, **{"小" + c: 0.085 for c in "象人妈米"}}
"""the most probable word begins with the third most probable first character"""


class Words(NamedTuple):
    """A model of two-character words: a start token, then the first character, then the second.

    Attributes:
        characters: the vocabulary; the first entry is the start token.
        probabilities: the probability of each word.
    """

    characters: list[str]
    probabilities: dict[str, float]

    @classmethod
    def of(cls, probabilities: dict[str, float]) -> Words:
        return cls(["我爱", *sorted(set("".join(probabilities)))], probabilities)

    def step(self, tokens: Int[Tensor, "n"], state: Tensor) -> tuple[Float[Tensor, "n v"], Tensor]:
        """Logits of the next character, and the unchanged state."""
        after = [self.characters[token] for token in tokens.tolist()]
        return torch.stack([self._next(character) for character in after]).log(), state

    def _next(self, after: str) -> Float[Tensor, "v"]:
        first = after == self.characters[0]
        weights = torch.zeros(len(self.characters), dtype=torch.float64)
        for word, probability in self.probabilities.items():
            if first or word[0] == after:
                weights[self.characters.index(word[0] if first else word[1])] += probability
        return weights / weights.sum() if weights.any() else torch.ones_like(weights) / len(weights)

    def search(self, beams: int) -> dict[str, float | str]:
        """The result of a search and its probability. One beam means greedy search."""
        start, state = torch.zeros(1, dtype=torch.long), torch.zeros(1)
        if beams == 1:
            tokens = torch.stack(list(generate(self.step, start, state, SamplingOptions(temperature=0.0), 2)), 1)[0]
        else:
            tokens = beam_search(self.step, start, state, beams, 2).tokens[0, 0]
        word = "".join(self.characters[token] for token in tokens.tolist())
        return {"word": word, "probability": self.probabilities.get(word, 0.0)}
