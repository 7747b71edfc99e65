"""JSON that a model wrote against the schema that was asked for. Pure, but for the library that is imported on use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

PROBLEMS = 5
_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


class NoValidator(Exception):
    """The extra `content` is not installed."""


class WrongSchema(ValueError):
    """What should be a JSON schema is none; the message says where."""


class Misfit(ValueError):
    """An answer that is not JSON of the schema; the message says what is wrong, for people and for the model."""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise WrongSchema, or NoValidator."""
    library = _library()
    try:
        library.Draft202012Validator.check_schema(schema)
    except library.SchemaError as error:
        raise WrongSchema(f"{_path(error)}: {error.message[:200]}") from None
    if schema.get("type") != "object":
        raise WrongSchema("its type must be object, as providers want it")


def fitting(text: str, schema: Mapping[str, Any]) -> Any:
    """The value that the text says in JSON, fenced or not. Raises Misfit where it is none or does not fit."""
    fenced = _FENCE.match(text)
    try:
        value = msgspec.json.decode((fenced[1] if fenced else text).strip().encode())
    except msgspec.MsgspecError as error:
        raise Misfit(f"it is not JSON: {error}") from None
    errors = _library().Draft202012Validator(schema).iter_errors(value)
    problems = [f"{_path(error)}: {error.message[:200]}" for error, _ in zip(errors, range(PROBLEMS), strict=False)]
    if problems:
        raise Misfit("; ".join(problems))
    return value


def is_strict(schema: Any) -> bool:
    """Whether providers can hold a model to it: every object names all it has, and all of it is required."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, Mapping):
        named = set(properties or {})
        if schema.get("additionalProperties") is not False or named != set(schema.get("required") or ()):
            return False
    return all(is_strict(value) for value in schema.values())


def _path(error: Any) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)


def _library() -> Any:
    try:
        import jsonschema
    except ModuleNotFoundError:
        raise NoValidator("JSON schemas need jsonschema: pip install 'workerctl[content]'") from None
    return jsonschema
