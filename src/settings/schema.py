"""What keys there are, read from the fields of the settings types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from .types import Settings, Table

NAME = "NAME"  # stands in a path for a name that the user chooses


class Key(NamedTuple):
    """One key of the file, or a table below it."""

    field: str  # its name in the settings type
    key: str  # its name in the file
    type: Any
    text: str
    expects: str
    unit: str  # "", duration, size or memory
    default: Any  # msgspec.NODEFAULT: must be given
    table: type[Table] | None  # the type of a table that stands here
    named: bool  # of many such tables, by name


@cache
def keys(table: type[Table]) -> Mapping[str, Key]:
    """The keys that users may write in a table, by their name in the file."""
    found = (_key(field) for field in msgspec.structs.fields(table))
    return MappingProxyType({key.key: key for key in found if key is not None})


def leaves(table: type[Table] = Settings, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Key]]:
    """Every key below a table with its path; names that users choose are NAME."""
    for key in keys(table).values():
        path = (*above, key.key)
        if key.table is None:
            yield path, key
        else:
            yield from leaves(key.table, (*path, NAME) if key.named else path)


def paths_like(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Every key that could be meant by `path`: names that users choose are those of `path`."""
    chosen = path[1] if len(path) > 2 else NAME
    possible = (each for each, _ in leaves() if NAME not in each or (each[0] == path[0] and chosen != NAME))
    return [tuple(chosen if part == NAME else part for part in each) for each in possible]


def _key(field: msgspec.structs.FieldInfo) -> Key | None:
    meta = _meta(field.type)
    if meta.get("derived"):
        return None
    named = get_origin(field.type) is dict
    inner = get_args(field.type)[1] if named else field.type
    table = inner if isinstance(inner, type) and issubclass(inner, Table) else None
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return Key(
        field=field.name,
        key=field.encode_name,
        type=field.type,
        text=meta.get("text", ""),
        expects=meta.get("expects", ""),
        unit=meta.get("unit", ""),
        default=default,
        table=table,
        named=named and table is not None,
    )


def _meta(annotation: Any) -> dict[str, Any]:
    if get_origin(annotation) is not Annotated:
        return {}
    found: dict[str, Any] = {}
    for meta in annotation.__metadata__:
        found |= {"text": meta.description or ""} | (meta.extra or {})
    return found
