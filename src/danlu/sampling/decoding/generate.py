"""Generation of sequences token by token, from any model that predicts the next token.

A model is a function ``step(tokens, state) -> logits, state``: ``tokens`` (n,) are the last tokens, ``state`` is the
state of the model after all earlier tokens, for example a recurrent state or an attention cache, and ``logits`` (n, v)
are unnormalized log-probabilities of the next token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from danlu.rng.counter_based import bits, uniforms
from danlu.rng.keys import key
from danlu.sampling.decoding import logit_filters as filters
from danlu.sampling.decoding.decoder_state import State
from danlu.sampling.decoding.logit_checks import check_end, check_logits

Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""function from the last tokens (n,) and a state to logits (n, v) and the next state"""

_LARGEST = 1 - 2.0**-40  # largest uniform number; less than 1 also after a multiplication
_LOW_TEMPERATURE = 1e-6  # temperature below which only the most probable token is sampled
_LARGE_LOGIT = 1e3  # logits up to this value are divided by the temperature without overflow


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen: greedily, or by sampling.

    The order is: repetition penalty, temperature, top-k, top-p, min-p.

    Args:
        temperature: divisor of the logits; 0 chooses the most probable token (greedy).
        top_k: sample from the k most probable tokens.
        top_p: sample from the fewest most probable tokens whose total probability is at least p (nucleus sampling).
        min_p: sample from the tokens with at least this fraction of the largest probability.
        repetition_penalty: above 1, tokens that have occurred before become less probable.

    Raises:
        ValueError: if an argument is out of range.

    >>> SamplingOptions(top_p=0.9).stochastic
    True
    >>> SamplingOptions(temperature=0.0).stochastic
    False
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        violations = {
            f"temperature={self.temperature} must be a finite number >= 0": not 0 <= self.temperature < float("inf"),
            f"top_k={self.top_k} must be at least 1": self.top_k is not None and self.top_k < 1,
            f"top_p={self.top_p} must be greater than 0 and at most 1": self.top_p is not None
            and not 0 < self.top_p <= 1,
            f"min_p={self.min_p} must be from 0 to 1": self.min_p is not None and not 0 <= self.min_p <= 1,
            f"repetition_penalty={self.repetition_penalty} must be a finite number > 0": not (
                0 < self.repetition_penalty < float("inf")
            ),
        }
        if any(violations.values()):
            raise ValueError("; ".join(line for line, violated in violations.items() if violated))

    @property
    def stochastic(self) -> bool:
        """Whether tokens are sampled, not chosen greedily."""
        return self.temperature > 0

    def filtered(self, logits: Float[Tensor, "n v"], seen: Bool[Tensor, "n v"] | None = None) -> Float[Tensor, "n v"]:
        """The logits used for sampling; −∞ for excluded tokens.

        Args:
            logits: logits of the model.
            seen: which tokens have occurred before, for the repetition penalty.
        """
        if self.repetition_penalty != 1 and seen is not None:
            logits = filters.repetition_penalty(logits, seen, self.repetition_penalty)
        low = max(_LOW_TEMPERATURE, _LARGE_LOGIT / torch.finfo(logits.dtype).max)  # 0.015 for float16
        if 0 < self.temperature < low:  # otherwise the largest logit would become infinite, too
            logits = logits - logits.amax(1, keepdim=True)
        if self.stochastic:
            logits = logits / max(self.temperature, torch.finfo(logits.dtype).tiny)
        if self.top_k is not None:
            logits = filters.top_k(logits, self.top_k)
        if self.top_p is not None and self.top_p < 1:
            logits = filters.top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = filters.min_p(logits, self.min_p)
        return logits


def draw(logits: Float[Tensor, "n v"], uniform: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Sample tokens by inverting the cumulative distribution at uniform numbers from [0, 1).

    Raises:
        RunError: if a row has no distribution: all its logits are −∞, or one is NaN or +∞.

    >>> draw(torch.tensor([[0.5, 0.0, 0.5]]).log().expand(3, 3), torch.tensor([0.0, 0.49, 0.51]))
    tensor([0, 0, 2])
    """
    check_logits(logits, 0)
    return _draw(logits, uniform)


def _draw(logits: Float[Tensor, "n v"], uniform: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    exact = torch.float32 if logits.device.type == "mps" else torch.float64
    cumulative = logits.to(exact).softmax(1).cumsum(1)
    target = uniform.to(exact).clamp_max(_LARGEST)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True).squeeze(1).clamp_max(logits.shape[1] - 1)


@torch.no_grad()
def generate(
    step: Step,
    tokens: Int[Tensor, "n"],
    state: State = None,
    options: SamplingOptions | None = None,
    length: int | None = None,
    end: int | None = None,
    seed: int = 0,
    seen: Int[Tensor, "n p"] | None = None,
) -> Iterator[Int[Tensor, "n"]]:
    """Generate tokens one at a time, yielding each as soon as it is chosen.

    The sampled tokens of a row depend only on (seed, row, position) and on the probabilities of that row, not on other
    rows.

    Args:
        step: the model.
        tokens: the last token of each prompt.
        state: the state after all earlier tokens; see ``read``.
        options: sampling options; by default sampling from the full distribution.
        length: number of tokens; unlimited by default.
        end: end token. A row that has ended repeats it, and its logits are ignored; generation stops when all rows have
            ended.
        seed: random seed.
        seen: tokens to which the repetition penalty applies from the start, for instance those of the prompt; the last
            token is always included.

    Yields:
        The next token of each row, (n,).

    Raises:
        ValueError: if ``end`` is not in the vocabulary.
        RunError: if a row has no next token: all its logits are −∞, or one is NaN or +∞.

    >>> counting = lambda tokens, state: (torch.nn.functional.one_hot((tokens + 1) % 5, 5).float(), state)
    >>> greedy = SamplingOptions(temperature=0.0)
    >>> [int(token) for token in generate(counting, torch.tensor([2]), options=greedy, length=4)]
    [3, 4, 0, 1]
    """
    options = options or SamplingOptions()
    row_keys = bits(key("decode", seed), torch.arange(len(tokens), device=tokens.device))
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    mask = None
    position = 0
    while length is None or position < length:
        logits, state = step(tokens, state)
        check_end(end, logits.shape[1])
        check_logits(logits, position, ended)
        if options.repetition_penalty != 1:
            if mask is None:
                mask = torch.zeros_like(logits, dtype=torch.bool)
                mask = mask if seen is None else mask.scatter(1, seen, True)
            mask.scatter_(1, tokens[:, None], True)
        logits = options.filtered(logits, mask)
        if options.stochastic:
            exact = torch.float32 if logits.device.type == "mps" else torch.float64
            tokens = _draw(logits, uniforms(row_keys, torch.full_like(row_keys, position), exact))
        else:
            tokens = logits.argmax(1)
        if end is not None:
            tokens = tokens.masked_fill(ended, end)
            ended = ended | (tokens == end)
        yield tokens
        position += 1
        if end is not None and bool(ended.all()):
            return


@torch.no_grad()
def read(step: Step, prompt: Int[Tensor, "n p"], state: State = None) -> tuple[Int[Tensor, "n"], State]:
    """Process a prompt token by token.

    Args:
        step: the model.
        prompt: prompts of at least one token.
        state: the initial state.

    Returns:
        The last token of each prompt, and the state after the earlier tokens.

    Raises:
        ValueError: if the prompt is empty.

    >>> counting = lambda tokens, state: (torch.zeros(1, 2), state + 1)
    >>> read(counting, torch.tensor([[4, 5, 6]]), 0)
    (tensor([6]), 2)
    """
    if not prompt.shape[1]:
        raise ValueError("the prompt is empty; give at least one token, for instance a start token")
    for tokens in prompt.unbind(1)[:-1]:
        _, state = step(tokens, state)
    return prompt[:, -1], state
