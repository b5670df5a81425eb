"""Beam search for the most probable sequences."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from danlu.errors import RunError
from danlu.sampling.decoding.decoder_state import State, repeat_rows, take_rows
from danlu.sampling.decoding.generate import Step
from danlu.sampling.decoding.logit_checks import check_end, not_a_distribution

Lengths = Literal["wu", "power"]


class BeamSearchResult(NamedTuple):
    """The result of a beam search: sequences, best first.

    Attributes:
        tokens: (n, best, t), without the prompt; after the end of a sequence its last token is repeated.
        lengths: (n, best), number of tokens including the end token; 0 for missing sequences.
        log_prob: (n, best), log-probability of each sequence; −∞ for missing sequences.
        score: (n, best), the ranking score: (log_prob - diversity penalty) / length penalty.
    """

    tokens: Int[Tensor, "n best t"]
    lengths: Int[Tensor, "n best"]
    log_prob: Float[Tensor, "n best"]
    score: Float[Tensor, "n best"]


class Penalty(NamedTuple):
    r"""Length penalty: log-probabilities are divided by it, so that long sequences are not at a disadvantage.

    .. math:: \mathrm{lp}(Y) = \frac{(5 + |Y|)^\alpha}{(5 + 1)^\alpha} \;\text{(wu)}, \qquad |Y|^\alpha \;\text{(power)}

    Wu et al., "Google's Neural Machine Translation System", 2016, equation 14; "power" is common elsewhere.

    Args:
        alpha: α; 0 for no penalty. The paper uses 0.2; 0.6 is common for Transformers.
        form: "wu" or "power".

    >>> Penalty(1.0)(7), Penalty(1.0, "power")(7)
    (2.0, 7.0)
    """

    alpha: float = 0.0
    form: Lengths = "wu"

    def __call__(self, length: int) -> float:
        """The penalty of a sequence of ``length`` tokens, at least 1."""
        return ((5 + length) / 6 if self.form == "wu" else float(length)) ** self.alpha


class _Beams(NamedTuple):
    """Running or finished sequences of a group, (n, k, …); missing sequences have score −∞."""

    tokens: Int[Tensor, "n k t"]
    lengths: Int[Tensor, "n k"]
    log_prob: Float[Tensor, "n k"]
    score: Float[Tensor, "n k"]

    def best(self, k: int) -> _Beams:
        """The k sequences with the highest score; ties keep their order."""
        indices = self.score.sort(dim=1, descending=True, stable=True).indices[:, :k]
        return _Beams(self.tokens.gather(1, _expanded(indices, self.tokens)), *(x.gather(1, indices) for x in self[1:]))


@torch.no_grad()
def beam_search(
    step: Step,
    tokens: Int[Tensor, "n"],
    state: State = None,
    beams: int = 4,
    length: int = 50,
    end: int | None = None,
    best: int = 1,
    penalty: Penalty | None = None,
    groups: int = 1,
    diversity: float = 0.5,
    prefix: Int[Tensor, "n p"] | None = None,
    dim: int = 0,
) -> BeamSearchResult:
    r"""Beam search for each of n prompts.

    Each step extends every running sequence by every token. The ``beams`` best extensions that do not end keep running;
    extensions that end and are among the ``beams`` best are kept as results. The search stops when no running sequence
    can exceed the kept ones, or at the maximum length, where all sequences count as ended. With as many beams as there
    are sequences the search is exhaustive. Tokens with logit −∞ are impossible; a sequence for which all tokens are
    impossible is dropped. If no sequence is left, all results are missing.

    Groups make the sequences diverse: they are extended one after the other, and in every step a token has a penalty of
    :math:`\lambda` for each beam of the earlier groups that chose it (Hamming diversity). Vijayakumar et al.,
    "Diverse Beam Search: Decoding Diverse Solutions from Neural Sequence Models", 2016, algorithm 1; as in the authors'
    program, penalties accumulate along a sequence.

    Args:
        step: the model.
        tokens: the last token of each prompt.
        state: the state after all earlier tokens; see ``danlu.sampling.decoding.generate.read``.
        beams: number of running sequences, over all groups.
        length: maximum number of tokens of a sequence.
        end: end token.
        best: number of sequences to return, at most ``beams``.
        penalty: length penalty; none by default.
        groups: number of groups, which must divide ``beams``.
        diversity: λ; has no effect with a single group.
        prefix: tokens with which every sequence must begin; they count towards the length.
        dim: batch dimension of the tensors of the state.

    Raises:
        ValueError: if an argument is out of range, or ``end`` or a token of ``prefix`` is not in the vocabulary.
        RunError: if a logit of a running sequence is NaN or +∞.

    >>> chain = torch.tensor([[0.1, 0.6, 0.3], [0.4, 0.3, 0.3], [0.05, 0.05, 0.9]]).log()
    >>> result = beam_search(lambda tokens, state: (chain[tokens], state), torch.tensor([0]), beams=3, length=2)
    >>> result.tokens[0, 0], result.log_prob[0].exp()
    (tensor([2, 2]), tensor([0.2700]))
    """
    _check(beams, length, best, groups, diversity, prefix)
    if not len(tokens):
        return _no_prompts(tokens, best, length)
    penalty = penalty or Penalty()
    n, width = len(tokens), beams // groups
    forced = torch.empty(n, 0, dtype=torch.long, device=tokens.device) if prefix is None else prefix
    logits, state, log_prob = _forced(step, tokens, state, forced)
    check_end(end, logits.shape[1])
    logits = logits.repeat_interleave(beams, 0)
    state = repeat_rows(state, beams, n, dim)
    running, kept = _begin(forced, log_prob, beams, groups)
    for position in range(forced.shape[1], length):
        alive = torch.cat([group.score for group in running], 1).isfinite().flatten()
        log_probs = _log_probs(logits, alive, position).view(n, groups, width, -1)
        counts = torch.zeros(n, log_probs.shape[-1], dtype=log_probs.dtype, device=tokens.device)
        last, parent_rows = position + 1 == length, []
        for g in range(groups):
            extended, parents = _extend(running[g], log_probs[:, g], diversity * counts if groups > 1 else counts)
            chosen = extended.tokens[:, :width, -1]
            counts = counts.scatter_add(1, chosen, extended.score[:, :width].isfinite().to(counts.dtype))
            is_end = torch.full_like(extended.lengths, last, dtype=torch.bool)
            is_end = is_end if end is None else is_end | (extended.tokens[:, :, -1] == end)
            kept[g] = _keep(kept[g], extended, is_end, width, penalty(position + 1))
            order = extended.score.masked_fill(is_end, -torch.inf).sort(dim=1, descending=True, stable=True)
            indices = order.indices[:, :width]
            running[g] = _select(extended, indices)._replace(score=order.values[:, :width])
            parent_rows.append(parents.gather(1, indices) + g * width)
        if last or not _can_improve(running, kept, penalty, position + 2, length):
            break
        chosen_rows = torch.cat(parent_rows, 1) + torch.arange(n, device=tokens.device)[:, None] * beams
        state = take_rows(state, chosen_rows.flatten(), dim)
        logits, state = step(torch.cat([beam.tokens[:, :, -1] for beam in running], 1).flatten(), state)
    return _collect(kept, best)


def _check(beams: int, length: int, best: int, groups: int, diversity: float, prefix: Tensor | None) -> None:
    if beams < 1 or not 1 <= best <= beams:
        raise ValueError(f"beams={beams} must be at least 1, and best={best} must be from 1 to beams")
    if groups < 1 or beams % groups:
        raise ValueError(f"groups={groups} must divide beams={beams}")
    if not 0 <= diversity < math.inf:
        raise ValueError(f"diversity={diversity} must be a finite number of at least 0")
    if length <= (0 if prefix is None else prefix.shape[1]):
        forced = 0 if prefix is None else prefix.shape[1]
        raise ValueError(f"length={length} must be more than the {forced} tokens of the prefix")


def _exact(logits: Tensor) -> torch.dtype:
    """The dtype for sums of log-probabilities: float32, or float64 if the logits have it."""
    return torch.promote_types(logits.dtype, torch.float32)


def _no_prompts(tokens: Int[Tensor, "0"], best: int, length: int) -> BeamSearchResult:
    """The result for an empty batch."""
    scores = torch.zeros(0, best, device=tokens.device)
    return BeamSearchResult(tokens.new_zeros(0, best, length), tokens.new_zeros(0, best), scores, scores)


def _log_probs(logits: Float[Tensor, "n v"], alive: Bool[Tensor, "n"], position: int) -> Float[Tensor, "n v"]:
    """Log-probabilities of the next token; −∞ for all tokens of a row that has only logits of −∞.

    Raises:
        RunError: if a logit of a row that is alive is NaN or +∞.
    """
    log_probs = logits.log_softmax(1, dtype=_exact(logits))
    largest = logits.amax(1)
    if bool(largest.isfinite().all()):
        return log_probs
    wrong = alive & ~largest.isfinite() & ~largest.isneginf()
    if bool(wrong.any()):
        problem = not_a_distribution(logits[wrong][0])
        raise RunError(f"beam search stopped at token {position + 1}: {problem}")
    return log_probs.masked_fill((largest.isneginf() | ~alive)[:, None], -torch.inf)


def _forced(step: Step, tokens: Tensor, state: State, prefix: Tensor) -> tuple[Tensor, State, Tensor]:
    """Logits and state after the prefix, and the log-probability of the prefix."""
    logits, state = step(tokens, state)
    total = torch.zeros(len(tokens), dtype=_exact(logits), device=tokens.device)
    if bool((wrong := (prefix < 0) | (prefix >= logits.shape[1])).any()):
        raise ValueError(
            f"prefix: {int(prefix[wrong][0])} is not a token of the vocabulary; give numbers from 0 to "
            f"{logits.shape[1] - 1}"
        )
    for position, forced in enumerate(prefix.unbind(1)):
        total = total + _log_probs(logits, total.isfinite(), position).gather(1, forced[:, None]).squeeze(1)
        logits, state = step(forced, state)
    return logits, state, total


def _begin(prefix: Tensor, log_prob: Tensor, beams: int, groups: int) -> tuple[list[_Beams], list[_Beams]]:
    """One running sequence and no kept sequences for each group."""
    n, k = len(prefix), beams // groups
    tokens = prefix[:, None].expand(n, k, -1)
    score = log_prob[:, None].repeat(1, k)
    score[:, 1:] = -torch.inf
    lengths = torch.full((n, k), prefix.shape[1], device=prefix.device)
    running = _Beams(tokens, lengths, log_prob[:, None].expand(n, k), score)
    no_results = running._replace(score=torch.full_like(score, -torch.inf))
    return [running] * groups, [no_results] * groups


def _extend(beams: _Beams, log_probs: Float[Tensor, "n k v"], cost: Float[Tensor, "n v"]) -> tuple[_Beams, Tensor]:
    """The best extensions by one token, up to 2k, because k of them may end.

    Returns:
        The sequences, best first, and the index of the sequence that each extends.
    """
    _, k, v = log_probs.shape
    score = (beams.score[:, :, None] + log_probs - cost[:, None]).flatten(1)
    score, indices = score.topk(min(2 * k, k * v), dim=1)
    parents, token = indices // v, indices % v
    log_prob = beams.log_prob.gather(1, parents) + log_probs.flatten(1).gather(1, indices)
    tokens = torch.cat([beams.tokens.gather(1, _expanded(parents, beams.tokens)), token[:, :, None]], 2)
    return _Beams(tokens, beams.lengths.gather(1, parents) + 1, log_prob, score), parents


def _keep(kept: _Beams, extended: _Beams, ends: Tensor, width: int, penalty: float) -> _Beams:
    """The best of the kept sequences and of the ``width`` best extensions that end now."""
    in_beam = ends & (torch.arange(ends.shape[1], device=ends.device) < width)
    ended = extended._replace(score=(extended.score / penalty).masked_fill(~in_beam, -torch.inf))
    padded = _padded(kept.tokens, extended.tokens.shape[2])
    merged = [torch.cat(pair, 1) for pair in zip((padded, *kept[1:]), ended, strict=True)]
    return _Beams(*merged).best(width)


def _can_improve(running: list[_Beams], kept: list[_Beams], penalty: Penalty, min_length: int, max_length: int) -> bool:
    """Whether a running sequence could still exceed a kept one if all further tokens had probability 1."""
    for active, finished in zip(running, kept, strict=True):
        best_score = active.score.amax(1)
        best_score = torch.maximum(best_score / penalty(min_length), best_score / penalty(max_length))
        if bool((best_score > finished.score.amin(1)).any()):
            return True
    return False


def _collect(kept: list[_Beams], best: int) -> BeamSearchResult:
    longest = max(int(group.lengths.masked_fill(group.score.isneginf(), 0).amax()) for group in kept)
    parts = zip(*((_padded(group.tokens, longest), *group[1:]) for group in kept), strict=True)
    best_beams = _Beams(*(torch.cat(part, 1) for part in parts)).best(best)
    missing = best_beams.score.isneginf()
    return BeamSearchResult(
        best_beams.tokens[:, :, :longest],
        best_beams.lengths.masked_fill(missing, 0),
        best_beams.log_prob.masked_fill(missing, -torch.inf),
        best_beams.score,
    )


def _padded(tokens: Tensor, length: int) -> Tensor:
    """The tokens, padded to a length by repeating the last one."""
    missing = length - tokens.shape[2]
    if missing <= 0:
        return tokens
    if not tokens.shape[2]:
        return tokens.new_zeros(*tokens.shape[:2], length)
    return torch.cat([tokens, tokens[:, :, -1:].expand(-1, -1, missing)], 2)


def _select(beams: _Beams, indices: Tensor) -> _Beams:
    return _Beams(beams.tokens.gather(1, _expanded(indices, beams.tokens)), *(x.gather(1, indices) for x in beams[1:]))


def _expanded(indices: Int[Tensor, "n k"], tokens: Int[Tensor, "n m t"]) -> Int[Tensor, "n k t"]:
    """Indices for ``gather`` over whole sequences."""
    return indices[:, :, None].expand(-1, -1, tokens.shape[2])
