"""Pydantic's models beside msgspec's types: known by what they can do, so that pydantic stays the user's choice."""

from __future__ import annotations

from typing import Any


def read_model(wanted: type[Any], content: Any) -> Any:
    """For msgspec's `dec_hook`: the model of these plain JSON types. Raises ValueError with the wrong field's path."""
    if not hasattr(wanted, "model_validate") or isinstance(content, wanted):
        return content  # msgspec then says what was expected
    try:
        return wanted.model_validate(content)
    except ValueError as error:
        raise ValueError(_words(error)) from None


def write_model(value: Any) -> Any:
    """For msgspec's `enc_hook`: a model as plain JSON types. Raises TypeError for everything else."""
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json")
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _words(error: ValueError) -> str:
    """Of pydantic's many lines the first wrong field, in msgspec's form."""
    first: dict[str, Any] = next(iter(getattr(error, "errors", list)()), {})
    path = "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in first.get("loc", ()))
    words = str(first.get("msg", error))
    return f"{words} - at `${path}`" if path else words
