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
        page = values.get("model", usual["model"])
        if isinstance(page, BaseModel | dict):
            values["model"] = cls._sized(dict(page), usual["model"], values["size"])
        return values

    @classmethod
    def _sized(cls, page: dict[str, Any], usual: BaseModel, size: Any) -> dict[str, Any]:
        """The network of that size, with what else was chosen for it."""
        known = dict(usual)
        chosen = {name: value for name, value in page.items() if name not in known or value != known[name]}
        if "size" in chosen and chosen["size"] != size:
            raise ValueError(f"size is {size} and model.size is {chosen['size']}; give one of them")
        return {**{name: field.default for name, field in type(usual).model_fields.items()}, **chosen, "size": size}
