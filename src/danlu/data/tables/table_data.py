"""Settings of a training on tables."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from danlu.data.settings import DataSettings
from danlu.data.tables.settings import Table
from danlu.storage.disk import absolute_path

S = TypeVar("S", bound="TableData")


class TableData(DataSettings):
    """A table and how its columns become numbers.

    >>> TableData(data="table:flowers.csv", table=Table(target="species")).table.target
    'species'
    """

    kind: ClassVar[str] = "table"

    table: Table = Table()
    """how the columns of a table become numbers"""

    def with_absolute_paths(self: S) -> S:
        """The same settings with absolute paths, also of the tables for validation and test."""
        settings = super().with_absolute_paths()
        files = {name: getattr(self.table, name) for name in ("validation_file", "test_file")}
        absolute = {name: str(absolute_path(path)) for name, path in files.items() if path is not None}
        return settings.model_copy(update={"table": self.table.model_copy(update=absolute)})
