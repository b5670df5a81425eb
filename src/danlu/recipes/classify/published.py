"""Recipes of published networks: for a published size the settings are those of the paper."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ValidationError, model_validator

from danlu.recipes.classify.base import Classification


class Published(Classification):
    """A classifier with default settings for small data, and those of its paper for a published size.

    Settings that are given explicitly take precedence. With ``model.size`` alone only the network is that of the paper.
    """

    paper: ClassVar[dict[str, Any]] = {}
    """settings of the paper by name; those of the network follow from the size"""

    @classmethod
    def of_paper(cls, size: Any) -> dict[str, Any]:
        """The settings of the paper for a network of this size."""
        return cls.paper

    def usual(self) -> Published:
        """The default settings; with a size, those of the paper."""
        size = self.size  # type: ignore[attr-defined]
        return type(self).model_construct(**({} if size is None else self.of_paper(size)))

    def with_dependent_defaults(self, values: dict[str, Any]) -> Self:
        """The settings of the paper for ``size``, or its network for ``model.size``, with the changed settings."""
        size, page = values.get("size"), values.get("model")
        if size is not None:
            changed = _changed(self, type(self)(), but=("size", "model"))
            try:
                return type(self)(**{**changed, "size": size}).with_dependent_defaults({**values, "size": None})
            except ValidationError:  # reported when all settings are validated
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
            raise ValueError(f"size={size} and model.size={own} differ; set only one of them")
        return self


def _changed(page: BaseModel, default: BaseModel, but: tuple[str, ...]) -> dict[str, Any]:
    """The values of settings that differ from their defaults."""
    return {name: value for name, value in dict(page).items() if name not in but and value != getattr(default, name)}


def _defaults(page: BaseModel) -> dict[str, Any]:
    """The default values of settings."""
    return {name: field.default for name, field in type(page).model_fields.items()}
