"""Settings of table files."""

from __future__ import annotations

from typing import Literal

from danlu.data.base.page import Page

TargetKind = Literal["auto", "classes", "number"]


class Table(Page):
    """How the columns of a table are converted to numbers."""

    target: str | None = None
    """column with the class or the number to predict; if not given, rows have no target"""
    target_kind: TargetKind = "auto"
    """classes, or a number for regression; auto: a number if values have fractions or are many different integers"""
    columns: tuple[str, ...] | None = None
    """columns to use; all except the target if not given"""
    standardize: bool = True
    """scale each column to mean 0 and standard deviation 1 on the training rows"""
    missing: Literal["refuse", "drop", "mean"] = "refuse"
    """rows with missing numbers; refuse: stop with an error, drop: leave them out, mean: fill in the column mean"""
    encoding: str = "utf-8"
    """character encoding of CSV files, for example latin-1"""
    validation_file: str | None = None
    """file with the rows of the validation part"""
    test_file: str | None = None
    """file with the rows of the test part"""
