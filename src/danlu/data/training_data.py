"""Settings of training data of any kind."""

from __future__ import annotations

from danlu.data.images.image_data import ImageData
from danlu.data.tables.table_data import TableData
from danlu.data.text.text_data import TextData


class TrainingData(TextData, TableData, ImageData):
    """A data set of any kind, how it is read, and how its training examples are transformed.

    >>> TrainingData(data="pydoc").load().info.tokens
    'characters'
    """
