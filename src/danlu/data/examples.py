"""What is trained on: examples from somewhere, and how they are changed each time they are seen."""

from __future__ import annotations

from danlu.data.augment import Augment
from danlu.data.source import Source


class Examples(Source):
    """A data set, how it is read, and how its training pictures are changed.

    >>> Examples(augment=Augment(flip="horizontal")).augment.on
    True
    """

    augment: Augment = Augment()
    """how training pictures are changed each time they are seen"""
