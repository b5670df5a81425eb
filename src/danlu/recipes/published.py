"""Recipes of networks that were published with a size: given the size, the values are those of the paper."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, model_validator

from danlu.recipes.classification import Classification


class Published(Classification):
    """A classifier with values of its own for small data, and those of its paper for a published size.

    What is given beside the size stays as it is given; a value that equals the recipe's usual one counts as not given.
    """

    paper: ClassVar[dict[str, Any]] = {}
    """what the paper says, by name; what it says of the network itself follows from the size"""

    @classmethod
    def of_paper(cls, size: Any) -> dict[str, Any]:
        """The paper's values for a network of this size."""
        return cls.paper

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("size") is None:
            return values
        values = dict(values)
        usual = {name: field.default for name, field in cls.model_fields.items()}
        for name, value in cls.of_paper(values["size"]).items():
            if name == "epochs" and values.get("rounds") is not None:
                continue
            if values.get(name, usual[name]) == usual[name]:
                values[name] = value
        if isinstance(page := values.get("model", usual["model"]), BaseModel):
            values["model"] = cls._sized(page, usual["model"], values["size"])
        return values

    @classmethod
    def _sized(cls, page: BaseModel, usual: BaseModel, size: Any) -> BaseModel:
        """The network of that size, with what else was chosen for it."""
        chosen = {name: value for name, value in dict(page).items() if value != getattr(usual, name)}
        return type(page)(**{**chosen, "size": size})
