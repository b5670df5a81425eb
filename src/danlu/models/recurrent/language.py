"""Language models with recurrent layers or causal convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.losses.next_token import chunked_cross_entropy
from danlu.models.base import Model
from danlu.models.onnx import OnnxGraph
from danlu.models.recurrent.onnx_graph import language_graph
from danlu.nn.conv.causal import CausalConvolutions
from danlu.nn.dense import check_dropout, check_width
from danlu.nn.recurrent.cell_types import Nonlinearity, Reset
from danlu.nn.recurrent.init import Initial
from danlu.nn.recurrent.layer import Recurrent
from danlu.nn.roles import set_role
from danlu.sampling.decoding.beam_search import beam_search
from danlu.sampling.decoding.generate import SamplingOptions, generate

Kind = Literal["rnn", "lstm", "peephole", "coupled", "gru", "convolution"]


class LanguageModel(Model):
    r"""The probability of each next token, given all tokens before it.

    .. math:: P(x_1, \dots, x_T) = \prod_t P(x_t \mid x_{<t}), \qquad
        P(\cdot \mid x_{<t}) = \operatorname{softmax}(W h_{t-1} + b), \qquad h_t = f(h_{t-1}, E x_t)

    Mikolov et al., "Recurrent neural network based language model", 2010. Dropout is applied as in Zaremba, Sutskever
    and Vinyals, "Recurrent Neural Network Regularization", 2014, figure 2, to all connections except the recurrent
    ones: after the embedding, between layers, and before the softmax.

    The state is one tensor, rows first. If a text is read in chunks and the state is carried between them, its
    probability is the same as that of the whole text.

    Args:
        vocabulary: number of different tokens.
        kind: "rnn", "lstm", "peephole", "coupled" or "gru", or "convolution", which depends on a fixed number
            of previous tokens.
        width: units of each layer.
        layers: number of layers.
        embedding: length of the learned vector of a token, 0 for one-hot vectors; by default ``width``.
        dropout: fraction of units that are set to zero during training.
        tied: whether the softmax uses the weights of the embedding (Press and Wolf 2017).
        cutoffs: token indices that split the vocabulary of an adaptive softmax; tokens must be ordered from the most to
            the least frequent. Empty for a full softmax.
        learn_normalizer: whether to learn a constant log Z of unnormalized scores, for noise-contrastive estimation.
        reset: reset gate of a GRU: "after" (torch), "before" (Cho et al. 2014) or "notes" (the lecture notes).
        nonlinearity: activation of an RNN: "tanh" or "relu".
        initial: initialization of the recurrent matrices: "uniform", "orthogonal", or for an RNN "radius", which sets
            the spectral radius to 1.
        forget_bias: initial bias of the forget gate of an LSTM; random by default.
        kernel: kernel size of the convolutions.
        dilated: whether the dilation doubles with each convolution.
        scale: initialize all weights uniformly within ±scale, as in Zaremba et al. 2014; by default each layer's own
            initialization.

    Raises:
        ValueError: if a number is out of range, or arguments cannot be combined.

    >>> model = LanguageModel(vocabulary=50, width=16)
    >>> tokens = torch.arange(12).view(2, 6)
    >>> features, state = model(tokens)
    >>> features.shape, model.logits(features).shape, model.log_prob(tokens).shape
    (torch.Size([2, 6, 16]), torch.Size([2, 6, 50]), torch.Size([2]))
    >>> model.complete(tokens[:1], 3).shape
    torch.Size([1, 9])
    """

    def __init__(
        self,
        vocabulary: int,
        kind: Kind = "lstm",
        width: int = 200,
        layers: int = 2,
        embedding: int | None = None,
        dropout: float = 0.0,
        tied: bool = False,
        cutoffs: Sequence[int] = (),
        learn_normalizer: bool = False,
        reset: Reset = "after",
        nonlinearity: Nonlinearity = "tanh",
        initial: Initial = "uniform",
        forget_bias: float | None = None,
        kernel: int = 3,
        dilated: bool = False,
        scale: float | None = None,
    ):
        super().__init__()
        embedding = width if embedding is None else embedding
        check_width("vocabulary", vocabulary)
        check_width("width", width)
        check_dropout(dropout)
        _check(vocabulary, kind, width, embedding, tied, cutoffs, learn_normalizer)
        if kind != "convolution" and (kernel != 3 or dilated):
            raise ValueError(f"kernel and dilated are for kind='convolution', not for {kind!r}; omit them")
        if scale is not None and (initial != "uniform" or forget_bias is not None or not scale > 0):
            raise ValueError("scale must be greater than 0 and initializes all weights; omit initial and forget_bias")
        self.vocabulary, self.one_hot, self.tied = vocabulary, embedding == 0, tied
        self.embedding = None if self.one_hot else nn.Embedding(vocabulary, embedding)
        inputs = embedding or vocabulary
        self.dropout = nn.Dropout(dropout)
        if kind == "convolution":
            _refuse_recurrent(reset=reset, nonlinearity=nonlinearity, initial=initial, forget_bias=forget_bias)
            self.layers: Recurrent | CausalConvolutions = CausalConvolutions(
                inputs, width, layers, kernel, dilated, dropout
            )
        else:
            self.layers = Recurrent(
                inputs, width, kind, layers, False, dropout, True, reset, nonlinearity, initial, forget_bias
            )
        self.log_z = nn.Parameter(torch.zeros(1)) if learn_normalizer else None
        self.adaptive = nn.AdaptiveLogSoftmaxWithLoss(width, vocabulary, list(cutoffs)) if cutoffs else None
        self.bias = None if cutoffs else nn.Parameter(torch.zeros(vocabulary))
        self.weight = None if cutoffs or tied else nn.Parameter(torch.empty(vocabulary, width))
        if self.weight is not None:
            set_role(self, "output", "weight")
        if self.one_hot and isinstance(self.layers, Recurrent):
            set_role(self.layers, "embedding", "weight_ih_l0")  # one column per token
        self._init_weights(width, scale)

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the model, see ``danlu.verbs.CAPABILITIES``."""
        return frozenset({"token_log_probs", "token_stream", "onnx_graph"})

    def onnx_graph(self) -> OnnxGraph:
        """An ONNX graph from tokens and a state to logits and the next state, for text completion in other programs."""
        return language_graph(self)

    def forward(
        self, tokens: Int[Tensor, "n t"], state: Float[Tensor, "n ..."] | None = None
    ) -> tuple[Float[Tensor, "n t width"], Float[Tensor, "n ..."]]:
        """Compute features, the input of the softmax, after each token, and the state after the last token.

        Args:
            tokens: token numbers, (n, t).
            state: state after the previous tokens; by default the zero state.
        """
        x = F.one_hot(tokens, self.vocabulary).to(self._dtype) if self.embedding is None else self.embedding(tokens)
        x, after = self.layers(self.dropout(x), state)
        return self.dropout(x), after

    def zero_state(self, n: int) -> Float[Tensor, "n ..."]:
        """The initial state of n rows, before any token."""
        return self.layers.zero_state(n)

    @property
    def window(self) -> int | None:
        """Number of tokens that a convolutional model sees; None for a recurrent model."""
        return self.layers.receptive_field if isinstance(self.layers, CausalConvolutions) else None

    @property
    def output(self) -> Float[Tensor, "vocabulary width"]:
        """The weights of a full softmax."""
        weight = self.embedding.weight if self.tied and self.embedding is not None else self.weight
        assert weight is not None, "an adaptive softmax has no such weights"
        return weight

    def logits(self, features: Float[Tensor, "*n width"]) -> Float[Tensor, "*n vocabulary"]:
        """Logits of all tokens; log-probabilities for an adaptive softmax."""
        if self.adaptive is not None:
            with torch.autocast(features.device.type, enabled=False):
                flat = self.adaptive.log_prob(features.flatten(0, -2).to(self._dtype))
            return flat.view(*features.shape[:-1], self.vocabulary)
        scores = F.linear(features, self.output, self.bias)
        return scores if self.log_z is None else scores - self.log_z

    def scores(self, features: Float[Tensor, "n width"], words: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Logits of selected words only.

        Args:
            features: features, (n, width).
            words: one word for each row, (n,), or the same k words for all rows, (1, k).

        Returns:
            (n,), or (n, k).
        """
        assert self.bias is not None, "an adaptive softmax has no single scores"
        weight, bias = self.output, self.bias
        if words.dim() == 2:
            logits = F.linear(features, weight[words[0]], bias[words[0]])
        else:
            logits = (features * weight[words]).sum(1) + bias[words]
        return logits if self.log_z is None else logits - self.log_z

    def cross_entropy(self, features: Float[Tensor, "m width"], targets: Int[Tensor, "m"]) -> Float[Tensor, "m"]:
        """Negative log-probability of the target of each row. Logits are computed for a few rows at a time."""
        if self.adaptive is not None:
            with torch.autocast(features.device.type, enabled=False):  # torch's autocast fails here for mixed types
                return -self.adaptive(features.to(self._dtype), targets).output
        assert self.bias is not None
        return chunked_cross_entropy(features, self.output, self.bias, targets)

    def log_probs(
        self,
        tokens: Int[Tensor, "n t"],
        targets: Int[Tensor, "n t"],
        state: Float[Tensor, "n ..."] | None = None,
    ) -> tuple[Float[Tensor, "n t"], Float[Tensor, "n ..."]]:
        """Log-probability of the target after each token in nats, and the state after the last token.

        Args:
            tokens: input tokens, (n, t).
            targets: next token after each input token, (n, t).
            state: state after the previous tokens; by default the zero state.
        """
        features, after = self(tokens, state)
        return -self.cross_entropy(features.flatten(0, 1), targets.flatten()).view(targets.shape), after

    def log_prob(self, x: Int[Tensor, "n t"]) -> Float[Tensor, "n"]:
        r"""Log-likelihood of each row in nats given its first token: :math:`\log P(x_2, \dots, x_T \mid x_1)`.

        The model is trained on running text, which has no beginning, so it has no distribution of the first token.

        Raises:
            ValueError: if rows have fewer than two tokens.
        """
        if x.shape[1] < 2:
            raise ValueError(
                f"rows of {x.shape[1]} tokens have no likelihood: the first token is given; use at least 2 tokens"
            )
        return self.log_probs(x[:, :-1], x[:, 1:])[0].sum(1)

    def step(
        self, tokens: Int[Tensor, "n"], state: Float[Tensor, "n ..."] | None = None
    ) -> tuple[Float[Tensor, "n vocabulary"], Float[Tensor, "n ..."]]:
        """Logits of the next token and the new state, from the last token and the state before it; used by decoders."""
        features, after = self(tokens[:, None], state)
        return self.logits(features[:, 0]), after

    @torch.no_grad()
    def read(self, prompt: Int[Tensor, "n p"]) -> tuple[Int[Tensor, "n"], Float[Tensor, "n ..."]]:
        """Read a prompt. Returns its last token and the state before this token, the arguments of ``step``.

        Raises:
            ValueError: if the prompt is empty.
        """
        if not prompt.shape[1]:
            raise ValueError("the prompt is empty; give at least one token")
        state = self.zero_state(len(prompt)) if prompt.shape[1] == 1 else self(prompt[:, :-1])[1]
        return prompt[:, -1], state

    @torch.no_grad()
    def complete(
        self,
        prompt: Int[Tensor, "n p"],
        tokens: int,
        options: SamplingOptions | None = None,
        seed: int = 0,
        beams: int | None = None,
    ) -> Int[Tensor, "n p+{tokens}"]:
        """Append new tokens to prompts. The model keeps its mode, so call ``eval()`` first to switch dropout off.

        Args:
            prompt: prompts of at least one token, (n, p).
            tokens: number of new tokens.
            options: sampling options; by default tokens are drawn from the full distribution.
            seed: random seed.
            beams: number of beams; the most probable sequence of a beam search is used instead of sampling.

        Raises:
            ValueError: if the prompt is empty.
        """
        last, state = self.read(prompt)
        if tokens < 1:
            return prompt
        if beams is not None:
            return torch.cat([prompt, beam_search(self.step, last, state, beams, tokens).tokens[:, 0]], 1)
        new = list(generate(self.step, last, state, options, tokens, seed=seed, seen=prompt))
        return torch.cat([prompt, torch.stack(new, 1)], 1)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.layers.parameters()).dtype

    @torch.no_grad()
    def _init_weights(self, width: int, scale: float | None) -> None:
        if scale is not None:
            for parameter in self.parameters():
                parameter.uniform_(-scale, scale)
            if self.log_z is not None:
                self.log_z.zero_()
            return
        if self.tied and self.embedding is not None:
            self.embedding.weight.normal_(std=width**-0.5)
        elif self.weight is not None:
            self.weight.uniform_(-(width**-0.5), width**-0.5)


def _refuse_recurrent(**settings: Any) -> None:
    """Raise an error if settings of recurrent layers are given for convolutions."""
    defaults = {"reset": "after", "nonlinearity": "tanh", "initial": "uniform", "forget_bias": None}
    changed = [name for name, value in defaults.items() if settings[name] != value]
    if changed:
        got, expected = (", ".join(f"{name}={page[name]}" for name in changed) for page in (settings, defaults))
        verb = "is" if len(changed) == 1 else "are"
        raise ValueError(f"{got} {verb} for recurrent layers, not for kind='convolution'; use {expected}")


def _check(
    vocabulary: int, kind: Any, width: int, embedding: int, tied: bool, cutoffs: Sequence[int], learn_normalizer: bool
) -> None:
    if embedding:
        check_width("embedding", embedding)
    if tied and embedding != width:
        reason = (
            "one-hot vectors have no weights" if not embedding else f"embedding={embedding} and width={width} differ"
        )
        raise ValueError(f"tied: the softmax cannot share the weights of the embedding: {reason}; omit one of them")
    if cutoffs and (tied or learn_normalizer):
        name = "tied" if tied else "learn_normalizer"
        raise ValueError(f"cutoffs give an adaptive softmax, which cannot be combined with {name}; omit one of them")
    if cutoffs and (sorted(set(cutoffs)) != list(cutoffs) or not 0 < cutoffs[0] <= cutoffs[-1] < vocabulary):
        raise ValueError(
            f"cutoffs={tuple(cutoffs)} must increase, and be greater than 0 and less than vocabulary={vocabulary}"
        )
    if cutoffs and width < 4 ** len(cutoffs):  # torch divides the width by 4 for each cutoff
        raise ValueError(
            f"{len(cutoffs)} cutoffs are too many for width={width}; use a width of at least "
            f"{4 ** len(cutoffs)}, or fewer cutoffs"
        )
