"""Language modeling of running text: truncated backpropagation through time with a carried state."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch
from danlu.data.base.dataset import Part
from danlu.metrics.perplexity import lanes_of, read_through
from danlu.models.recurrent.language import LanguageModel
from danlu.tasks.task import Descend, Task, Terms, Turn


class RunningText(Task):
    """Base class of language modeling on running text, with exact or sampled losses.

    Each step continues every lane of text where the last step ended. The state after a step is kept in a buffer, one
    row per lane, and enters the next step without gradients, which are truncated at the start of the step (Williams and
    Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories", 1990). The
    state is reset where a lane starts again.

    A batch has ``token``, ``target`` and ``fresh``, as in ``danlu.data.text.token_streams``; with ``valid``
    (n, t), targets count only where that is true.

    Args:
        model: the language model.
        rows: lanes of a batch.
    """

    state: Tensor
    better: Mapping[str, str] = {"cross_entropy": "lower", "perplexity": "lower"}

    def __init__(self, model: LanguageModel, rows: int):
        super().__init__()
        self.language = model
        self.register_rows("state", model.zero_state(rows))

    @property
    def model(self) -> nn.Module:
        return self.language

    def players(self) -> dict[str, nn.Module]:
        return {"model": self.language}

    def read(self, batch: Batch) -> tuple[Float[Tensor, "m width"], Int[Tensor, "m"]]:
        """Inputs of the softmax for each target, and the targets; the state is stored for the next step."""
        before = self.state[batch.rows]
        fresh = batch["fresh"].view(-1, *[1] * (before.dim() - 1))
        features, after = self.language(batch["token"], before.masked_fill(fresh, 0.0))
        self.state[batch.rows] = after.detach().to(before.dtype)
        features, targets = features.flatten(0, 1), batch["target"].flatten()
        if "valid" in batch.fields:
            valid = batch["valid"].flatten()
            features, targets = features[valid], targets[valid]
        return features, targets

    def scores_of_part(self, part: Part) -> dict[str, float]:
        """Cross-entropy per token in nats, and perplexity, of a text that is read in order with carried state."""
        if len(part) < 2:
            return {}
        reading = read_through(self.language, part, lanes_of(len(part)))
        return {"cross_entropy": reading.cross_entropy, "perplexity": reading.perplexity}


class Language(RunningText):
    r"""Train a language model with the cross-entropy of each next token.

    .. math:: -\log P(x_{t+1} \mid x_{\le t})

    One value per token. Graves, "Generating sequences with recurrent neural networks", 2013, equation 6; Zaremba,
    Sutskever and Vinyals, "Recurrent Neural Network Regularization", 2014, section 4.1.

    Args:
        model: the language model.
        rows: lanes of a batch.

    >>> import torch
    >>> task = Language(LanguageModel(vocabulary=5, width=4), rows=2)
    >>> tokens = torch.zeros(2, 3, dtype=torch.long)
    >>> fields = {"token": tokens, "target": tokens, "fresh": torch.tensor([True, True])}
    >>> {name: term.shape for name, term in task.fit(Batch(fields, slice(0, 2), 2, torch.arange(2))).items()}
    {'cross_entropy': torch.Size([6])}
    """

    def __init__(self, model: LanguageModel, rows: int):
        super().__init__(model, rows)
        self.replayable = model.adaptive is None  # the number of words in each cluster must be counted

    def turns(self, round: int) -> list[Turn]:
        return [Descend("model", self.fit)]

    def fit(self, batch: Batch) -> Terms:
        """Cross-entropy of each token."""
        return {"cross_entropy": self.language.cross_entropy(*self.read(batch))}
