"""Settings of training data of any kind."""

from __future__ import annotations

from danlu.catalogue.lookup import resolve
from danlu.data.kinds import KINDS


class TrainingData(*(resolve(kind.settings) for kind in reversed(KINDS.values()))):
    """A data set of any kind, how it is read, and how its training examples are transformed.

    >>> TrainingData(data="pydoc").load().info.tokens
    'characters'
    """
