"""Settings of tables."""

from __future__ import annotations

from typing import Literal

from danlu.data.base.page import Page


class Table(Page):
    """How the columns of a table become numbers."""

    target: str | None = None
    """column with the class of each row; none if not given"""
    columns: tuple[str, ...] | None = None
    """columns to use; all but the target if not given"""
    standardize: bool = True
    """shift and scale each column to mean 0 and deviation 1 over the training rows"""
    missing: Literal["refuse", "drop", "mean"] = "refuse"
    """what happens to rows with missing numbers: nothing is trained, they are left out, or filled with the mean"""
    encoding: str = "utf-8"
    """how the text of a CSV file is written, latin-1 or cp1252 for instance"""
    validation_file: str | None = None
    """another table with the rows for validation"""
    test_file: str | None = None
    """another table with the rows for the test"""
