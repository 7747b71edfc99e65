"""Pure: a value that fits a JSON schema, for answers that nobody scripted."""

from __future__ import annotations

from typing import Any

DEPTH_LIMIT = 12


def sample(schema: dict[str, Any], root: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """The plainest value that fits: required fields only unless there are none, one item a list, first of an enum."""
    root = schema if root is None else root
    if depth > DEPTH_LIMIT:
        return None
    if "$ref" in schema:
        return sample(_referred(schema["$ref"], root), root, depth + 1)
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return sample(schema[name][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _plain(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _plain(kind: str, schema: dict[str, Any], root: dict[str, Any], depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties", {})
        names = schema.get("required") or list(properties)
        return {name: sample(properties.get(name, {}), root, depth + 1) for name in names}
    if kind == "array":
        count = max(schema.get("minItems", 1), min(1, schema.get("maxItems", 1)))
        return [sample(schema.get("items", {}), root, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return max(schema.get("minimum", 1), min(1, schema.get("maximum", 1)))
    if kind == "string":
        text: str = "sample".ljust(schema.get("minLength", 0), "-")
        return text[: schema.get("maxLength", len(text))]
    return kind == "boolean" or None


def _referred(path: str, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for part in path.removeprefix("#").strip("/").split("/"):
        found = found.get(part, {}) if part else found
    return dict(found)
