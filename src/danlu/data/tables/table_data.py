"""Settings for training on tables."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from danlu.data.settings import DataSettings
from danlu.data.tables.settings import Table
from danlu.storage.disk import absolute_path

S = TypeVar("S", bound="TableData")


class TableData(DataSettings):
    """A table and how its columns are converted to numbers.

    >>> TableData(data="table:flowers.csv", table=Table(target="species")).table.target
    'species'
    """

    kind: ClassVar[str] = "table"

    table: Table = Table()
    """how the columns of a table are converted to numbers"""

    def with_absolute_paths(self: S) -> S:
        """The same settings with absolute paths, including those of the validation and test files."""
        settings = super().with_absolute_paths()
        files = {name: getattr(self.table, name) for name in ("validation_file", "test_file")}
        absolute = {name: str(absolute_path(path)) for name, path in files.items() if path is not None}
        return settings.model_copy(update={"table": self.table.model_copy(update=absolute)})
