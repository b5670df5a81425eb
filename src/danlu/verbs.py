"""Verbs: the operations of a model, one protocol each. Capabilities: properties that a model declares.

The command line, the evaluation and the reports test for a verb or a capability, never for a class.
Tensors go in and out; files and strings belong to the application. A model has a verb if it has the method:

>>> class Coin:
...     def log_prob(self, x): return -0.6931
>>> isinstance(Coin(), LogProb), verbs_of(Coin())
(True, ['log_prob'])

A capability is a property that a protocol does not show, such as an additional argument of a verb. A model declares
it in its attribute ``capabilities``, see ``CAPABILITIES``:

>>> class Die:
...     capabilities = frozenset({"generator"})
...     def sample(self, n, *, generator=None): ...
>>> has(Die(), "generator"), has(Die(), "value_sampling"), has(Coin(), "generator")
(True, False, False)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from danlu.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class LogProb(Protocol):
    """The model has a normalized density or mass."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-likelihood of each example in nats, (n,)."""
        ...


@runtime_checkable
class LogProbBound(Protocol):
    """The model computes a lower bound of the log-likelihood."""

    def log_prob_bound(self, x: Tensor, samples: int = 1) -> Tensor:
        """A lower bound of the log-likelihood of each example in nats, (n,); more samples make it tighter."""
        ...


@runtime_checkable
class Energy(Protocol):
    """The model has a density up to a constant."""

    def energy(self, x: Tensor) -> Tensor:
        """Energy of each example, (n,): minus log-likelihood up to a constant."""
        ...


@runtime_checkable
class Sample(Protocol):
    """The model draws examples."""

    def sample(self, n: int) -> Tensor:
        """Draw n examples, (n, ...)."""
        ...


@runtime_checkable
class Prior(Protocol):
    """The model samples latent codes from its prior."""

    def prior(self, n: int) -> Tensor:
        """Draw n codes for ``decode``, (n, ...)."""
        ...


@runtime_checkable
class Classify(Protocol):
    """The model predicts class probabilities."""

    def classify(self, x: Tensor) -> Tensor:
        """Probability of each class, (n, classes); rows sum to 1."""
        ...


@runtime_checkable
class Predict(Protocol):
    """The model predicts a number."""

    def predict(self, x: Tensor) -> Tensor:
        """The number of each example in the units of the target, (n, 1); or its mean and standard deviation, (n, 2)."""
        ...


@runtime_checkable
class Encode(Protocol):
    """The model encodes examples as latent codes."""

    def encode(self, x: Tensor) -> Tensor:
        """The code of each example, (n, ...)."""
        ...


@runtime_checkable
class Decode(Protocol):
    """The model decodes latent codes."""

    def decode(self, z: Tensor) -> Tensor:
        """The example of each code, (n, ...)."""
        ...


@runtime_checkable
class Reconstruct(Protocol):
    """The model encodes and decodes examples."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """The reconstruction of each example, in the shape of x."""
        ...


@runtime_checkable
class Inpaint(Protocol):
    """The model fills in missing values."""

    def inpaint(self, x: Tensor, mask: Tensor) -> Tensor:
        """x with the entries filled in where the mask is 0, in the shape of x."""
        ...


@runtime_checkable
class Interpolate(Protocol):
    """The model interpolates between two examples."""

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Tensor:
        """Steps from each a to its b, (n, steps, ...), both ends included."""
        ...


@runtime_checkable
class LatentWalk(Protocol):
    """The model decodes a two-dimensional walk through the latents of four examples."""

    def latent_walk(self, anchors: Tensor, steps: int) -> Tensor:
        """The walk through the latents of four anchors (4, ...), (steps, steps, ...)."""
        ...


@runtime_checkable
class Complete(Protocol):
    """The model continues sequences."""

    def complete(self, prompt: Tensor, tokens: int) -> Tensor:
        """The prompt's tokens followed by new ones, (n, length + tokens)."""
        ...


@runtime_checkable
class Translate(Protocol):
    """The model maps sequences to sequences."""

    def translate(self, source: Tensor) -> Tensor:
        """The target's tokens for each source, (n, length)."""
        ...


@runtime_checkable
class Embed(Protocol):
    """The model maps words to vectors."""

    def embed(self, words: Tensor) -> Tensor:
        """The vector of each word number, (n, width)."""
        ...


@runtime_checkable
class Recall(Protocol):
    """The model restores stored patterns from damaged ones."""

    def recall(self, x: Tensor) -> Tensor:
        """The stored pattern to which each x converges, in the shape of x."""
        ...


@runtime_checkable
class Denoise(Protocol):
    """The model removes noise."""

    def denoise(self, x: Tensor) -> Tensor:
        """Each x without its noise, in the shape of x."""
        ...


VERBS: dict[str, type[Any]] = {
    "log_prob": LogProb,
    "log_prob_bound": LogProbBound,
    "energy": Energy,
    "sample": Sample,
    "prior": Prior,
    "classify": Classify,
    "predict": Predict,
    "encode": Encode,
    "decode": Decode,
    "reconstruct": Reconstruct,
    "inpaint": Inpaint,
    "interpolate": Interpolate,
    "latent_walk": LatentWalk,
    "complete": Complete,
    "translate": Translate,
    "embed": Embed,
    "recall": Recall,
    "denoise": Denoise,
}


_INSTEAD = {"classify": ("predict",), "predict": ("classify",)}
"""verbs of other models for the same purpose"""


def verbs_of(model: object) -> list[str]:
    """The verbs that a model has, in the order of VERBS."""
    return [name for name in VERBS if can(model, name)]


def can(model: object, verb: str) -> bool:
    """Whether a model has a verb.

    A submodule of the same name, such as ``self.embed``, does not count. A model whose arguments make a verb impossible
    names it in its attribute ``lacks``.
    """
    has_method = isinstance(model, VERBS[verb]) and callable(getattr(type(model), verb, None))
    return has_method and verb not in getattr(model, "lacks", ())


def need(model: object, verb: str) -> Any:
    """The model, if it has the verb.

    Raises:
        UsageError: if it does not; the message names the verbs that it has.

    >>> need(object(), "classify")
    Traceback (most recent call last):
    danlu.errors.UsageError: object has no verb 'classify'; its verbs: none
    """
    if not can(model, verb):
        verbs = ", ".join(verbs_of(model)) or "none"
        if other := next((one for one in _INSTEAD.get(verb, ()) if can(model, one)), None):
            what = "a number, not a class" if other == "predict" else "classes, not a number"
            raise UsageError(f"this {type(model).__name__} predicts {what}; use {other} in place of {verb}")
        raise UsageError(f"{type(model).__name__} has no verb {verb!r}; its verbs: {verbs}")
    return model


def samples_latents(model: object) -> bool:
    """Whether a sample of the model has a latent code that can be drawn alone and decoded."""
    return can(model, "prior") and can(model, "decode")


def method(model: object, verb: str) -> Any:
    """The method of a verb.

    Raises:
        UsageError: if the model does not have the verb.
    """
    return getattr(need(model, verb), verb)


Capability = Literal[
    "class_conditional",
    "class_log_probs",
    "generator",
    "value_sampling",
    "temperature",
    "masks",
    "token_log_probs",
    "token_stream",
    "unit_kl",
    "density",
    "data_initialization",
    "receptive_field",
    "onnx_graph",
    "recall_trace",
    "normalizer",
    "centered_noise",
    "binary_values",
    "noise_level",
    "sweeps",
    "filters",
    "chain_trace",
]

CAPABILITIES: dict[Capability, str] = {
    "class_conditional": "``sample``, ``decode`` and ``inpaint`` (if they exist) take ``labels``, the class of each "
    "example (n,)",
    "class_log_probs": "``class_log_probs(x)`` gives the log-probability of each class (n, classes), also where "
    "the probability of ``classify`` is rounded to 0",
    "generator": "the verbs that draw (``sample``, ``prior``, ``log_prob_bound``) take ``generator``",
    "value_sampling": "``sample`` takes ``values``: whether each value is drawn; otherwise the mean is returned",
    "temperature": "``sample`` and ``inpaint`` take ``temperature``: 1 is the model, less gives more probable values",
    "masks": "trained to fill in hidden values: ``inpaint`` needs a single pass",
    "token_log_probs": "``log_probs(tokens, targets, state)`` gives the log-probability of each token and the state",
    "token_stream": "``read(tokens)``, ``step(token, state)`` and ``window``: logits of a text that grows by tokens",
    "unit_kl": "``posterior(x).kl()`` gives the KL divergence of each latent unit (n, d)",
    "density": "``log_prob`` is a density of continuous values, in the units of x; otherwise the probability of "
    "discrete ones",
    "data_initialization": "``initialize(x, labels)`` sets the parameters whose initial values depend on a batch",
    "receptive_field": "``receptive_field``: side in pixels of what an output of the last convolution depends on",
    "onnx_graph": "``onnx_graph()`` gives the ONNX graph of a verb that torch cannot trace",
    "recall_trace": "``recall_trace(x, steps, synchronous, seed)`` gives states and energies during a recall, and "
    "``patterns`` the stored examples; ``recall`` takes the same arguments",
    "centered_noise": "the noise that fills the gap between discrete values has the mean 0, so that verbs such as "
    "``denoise`` take and give the values themselves",
    "normalizer": "``log_normalizer()`` gives the logarithm of the normalizer in ``log_prob``: exact, or an estimate "
    "with its standard error",
    "binary_values": "``binary_values`` is the pair of the two values, in increasing order, that the verbs take; other "
    "values are an error",
    "noise_level": "``denoise`` takes ``noise``: for models with ``binary_values`` the probability that a value is "
    "wrong, above 0 and below 0.5; for others the standard deviation of normal noise in units of x, above 0",
    "sweeps": "``sample``, ``inpaint`` and ``denoise`` (if they exist) take ``sweeps``, the number of steps of their "
    "Markov chains",
    "filters": "``filters()`` gives the weights of each hidden unit, (hidden, *shape of an example)",
    "chain_trace": "``chain_trace(n, steps, generator)`` runs n Markov chains without annealing from the states at "
    "which those of ``sample`` start, and gives what to show after these numbers of steps, (n, len(steps), *shape): "
    "after 0 the first states, later the states or their conditional means",
}
"""each capability, with its meaning"""


@runtime_checkable
class Declares(Protocol):
    """The model declares capabilities."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Keys of ``CAPABILITIES``; they may depend on the model's arguments."""
        ...


def has(model: object, capability: Capability) -> bool:
    """Whether a model declares a capability.

    Raises:
        KeyError: if the capability is unknown.

    >>> from danlu.models import MLPGenerator
    >>> [has(MLPGenerator((2,), classes, None), "class_conditional") for classes in (0, 3)]
    [False, True]
    """
    if capability not in CAPABILITIES:
        raise KeyError(f"unknown capability {capability!r}; available: {', '.join(get_args(Capability))}")
    return isinstance(model, Declares) and capability in model.capabilities
