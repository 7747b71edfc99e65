"""`image.sheet`: the contact sheet of a batch, made when its last picture has ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from .. import Context, Fail, job
from ..storage import ObjectMissing, ObjectTooLarge

if TYPE_CHECKING:
    from ..storage import Storage
    from .pictures.pipeline import PictureFile
    from .pictures.recipe import Recipe
    from .pictures.sheet import Cell

THUMBNAIL_LIMIT_BYTES = 4 * 1024 * 1024

_CHILDREN = """
  SELECT child_index, status::text, result, error
    FROM workerctl.job
   WHERE parent_id = %(parent)s
ORDER BY child_index
"""


class ImageSheet(msgspec.Struct, frozen=True, kw_only=True):
    """The pictures that the children of the job `parent` have made, under a title."""

    parent: Annotated[int, Meta(ge=1)]
    title: Annotated[str, Meta(max_length=4000)] = ""


class _Child(NamedTuple):
    place: int
    status: str
    result: dict[str, Any] | None
    error: str | None


@job("image.sheet", queue="image", timeout_seconds=120)
async def sheet(payload: ImageSheet, ctx: Context) -> dict[str, Any]:
    """Draw, encode and store the sheet. Pictures that failed have a grey cell that says why."""
    from .pictures.recipe import recipe_for
    from .threads import computed, stored

    children = await stored(_children, ctx, payload.parent)
    made = sum(child.status == "succeeded" for child in children)
    if not made:
        raise Fail(f"job {payload.parent} has no child with a picture")
    recipe = recipe_for(ctx.settings.images, plan=ctx.job.plan)
    file = await computed(_drawn, ctx.storage, payload.title, children, recipe)
    await stored(ctx.storage.put, file.key, file.content, content_type=file.content_type)
    return {
        "key": file.key,
        "width": file.width,
        "height": file.height,
        "format": recipe.format,
        "bytes": len(file.content),
        "images": made,
        "failed": len(children) - made,
    }


def _children(ctx: Context, parent: int) -> list[_Child]:
    from psycopg.rows import tuple_row

    with ctx.database() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        return [_Child(*row) for row in cursor.execute(_CHILDREN, {"parent": parent})]


def _drawn(storage: Storage, title: str, children: list[_Child], recipe: Recipe) -> PictureFile:
    from .pictures.pipeline import finish
    from .pictures.sheet import draw_sheet

    drawing = draw_sheet(title, _cells(storage, children), len(children))
    (file,) = finish(drawing, replace(recipe, variants={}))
    return file


def _cells(storage: Storage, children: list[_Child]) -> Iterator[Cell]:
    from .pictures.opening import UnreadableImage, decode
    from .pictures.sheet import Cell

    for child in children:
        number = child.place + 1
        if child.status != "succeeded" or child.result is None:
            reason = (child.error or "").partition("\n")[0]
            yield Cell(None, f"{number}  {child.status}: {reason}" if reason else f"{number}  {child.status}")
            continue
        try:
            content = storage.get(child.result["thumbnail"], limit_bytes=THUMBNAIL_LIMIT_BYTES)
            yield Cell(decode(content), f"{number}  {child.result['width']} x {child.result['height']}")
        except (ObjectMissing, ObjectTooLarge, UnreadableImage, KeyError) as error:
            yield Cell(None, f"{number}  {error}")
