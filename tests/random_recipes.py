"""Random recipes from the schemas of the catalogue, for the comparison of ``check`` with training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from danlu.catalogue import find_recipe
from danlu.recipes import Recipe

FIXED = {"rounds", "epochs", "compile", "cuda_graphs", "deterministic", "tf32", "data", "seed", "format", "recipe"}
"""settings that are not drawn: they set global state, need a GPU, or are chosen otherwise"""
DATA = {"images": ("digits",), "table": ("moons",), "text": ("pydoc",), "waveforms": ("tones",)}
MONITORS = (None, "none", "accuracy", "cross_entropy", "elbo", "perplexity", "fid")
INTEGERS = (0, 1, 2, 3, 4, 8, 17)
NUMBERS = (0.0, 1e-3, 0.1, 0.5, 0.9, 1.0, 2.0)
ABSURD = (-1.0, 1e-300, 1e300)

Path = tuple[str, ...]


def leaves(cls: type[Recipe]) -> dict[Path, dict[str, Any]]:
    """The JSON schema of each setting, by its path."""
    schema = cls.model_json_schema()
    definitions = schema.get("$defs", {})

    def walk(node: dict[str, Any], path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        node = _resolved(node, definitions)
        if "properties" in node:
            for name, child in node["properties"].items():
                if path or name not in FIXED:
                    yield from walk(child, (*path, name))
        else:
            yield path, node

    return dict(walk(schema, ()))


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[-1]]
    return node


def value(schema: dict[str, Any], source: random.Random, absurd: bool = False) -> Any:
    """A random value; mostly one that the schema allows."""
    if options := schema.get("anyOf"):
        return value(source.choice(options), source, absurd)
    if "enum" in schema:
        return source.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "boolean":
        return source.random() < 0.5
    if kind == "integer":
        return source.choice([n for n in INTEGERS if n >= schema.get("minimum", -1)])
    if kind == "number":
        return source.choice(ABSURD if absurd else NUMBERS)
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items", {"type": "integer"})] * source.randint(0, 3)
        return [value(item, source, absurd) for item in items]
    return None


def random_changes(cls: type[Recipe], source: random.Random, absurd: bool = False) -> dict[str, Any]:
    """One to four random settings of a recipe, by dotted names."""
    schemas = leaves(cls)
    changes: dict[str, Any] = {}
    for path in source.sample(sorted(schemas), source.randint(1, 4)):
        if path == ("monitor",):
            changes["monitor"] = source.choice(MONITORS)
        elif schemas[path].get("type") != "string":
            changes[".".join(path)] = value(schemas[path], source, absurd)
    changes["data"] = source.choice([name for kind in cls.settings_by_kind() for name in DATA[kind]])
    return changes


def crafted() -> Iterator[tuple[str, dict[str, Any]]]:
    """Combinations of batch sizes, micro-batches and norms, and each setting of each recipe at its borders."""
    from danlu.catalogue import RECIPES

    for name in RECIPES:
        cls = find_recipe(name)
        schemas = leaves(cls)
        for batch, pieces in ((1, 1), (2, 2), (3, 2), (5, 4), (16, 16)):
            norms = [path for path in schemas if path[-1] == "norm"]
            for norm in ("batch", "layer", None) if norms else ("",):
                norm_changes = {} if norm == "" else {".".join(path): norm for path in norms}
                yield name, {"batch_size": batch, "grad_accumulation": pieces, **norm_changes}
        for path, schema in schemas.items():
            for option in _borders(schema):
                yield name, {".".join(path): option}


def _borders(schema: dict[str, Any]) -> Iterator[Any]:
    for option in schema.get("anyOf", [schema]):
        if "minimum" in option:
            yield option["minimum"]
        if "maximum" in option:
            yield option["maximum"]
        if option.get("type") == "array" and "prefixItems" not in option:
            yield []
        if option.get("type") == "null":
            yield None
        if option.get("type") == "boolean":
            yield from (False, True)
        yield from option.get("enum", ())
