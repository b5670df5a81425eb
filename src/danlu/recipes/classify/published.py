"""Recipes of networks that were published with a size: given the size, the values are those of the paper."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ValidationError, model_validator

from danlu.recipes.classify.base import Classification


class Published(Classification):
    """A classifier with values of its own for small data, and those of its paper for a published size.

    What is given beside the size stays as it is given. A size of the network alone, ``model.size``, builds that network
    and leaves everything else as it is.
    """

    paper: ClassVar[dict[str, Any]] = {}
    """what the paper says, by name; what it says of the network itself follows from the size"""

    @classmethod
    def of_paper(cls, size: Any) -> dict[str, Any]:
        """The paper's values for a network of this size."""
        return cls.paper

    def with_dependent_defaults(self, values: dict[str, Any]) -> Self:
        """For a size the paper's values, with those that were changed before; for a network's size that network."""
        size, page = values.get("size"), values.get("model")
        if size is not None:
            changed = _changed(self, type(self)(), but=("size", "model"))
            try:
                return type(self)(**{**changed, "size": size}).with_dependent_defaults({**values, "size": None})
            except ValidationError:  # which is told when everything is checked together
                return self
        if isinstance(page, dict) and page.get("size") is not None:
            bare = type(self.model)  # type: ignore[attr-defined]
            changed = _changed(self.model, type(self)().model, but=("size",))  # type: ignore[attr-defined]
            return super().with_dependent_defaults(values).model_copy(update={"model": bare(**changed)})
        return super().with_dependent_defaults(values)

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("size") is None:
            return values
        paper = cls.of_paper(values["size"])
        if values.get("rounds") is not None:
            paper = {**paper, "epochs": None}
        network = cls.model_fields["model"].default
        return {**paper, "model": {**_defaults(network), "size": values["size"]}, **values}

    @model_validator(mode="after")
    def _has_one_size(self) -> Published:
        size, own = self.size, self.model.size  # type: ignore[attr-defined]
        if size is not None and own != size:
            raise ValueError(f"size is {size} and model.size is {own}; give one of them")
        return self


def _changed(page: BaseModel, usual: BaseModel, but: tuple[str, ...]) -> dict[str, Any]:
    """The values of a page that are not the usual ones."""
    return {name: value for name, value in dict(page).items() if name not in but and value != getattr(usual, name)}


def _defaults(page: BaseModel) -> dict[str, Any]:
    """The values that a page has when nothing is chosen."""
    return {name: field.default for name, field in type(page).model_fields.items()}
