"""image.sheet: a batch's pictures in one grid, with what failed said in its place."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest
from PIL import Image

from workerctl import enqueue
from workerctl.handler import Context, Fail
from workerctl.jobs.pictures import captions
from workerctl.jobs.pictures.sheet import CELL_PIXELS, Cell, draw_sheet
from workerctl.jobs.sheet import ImageSheet, sheet
from workerctl.storage import Storage

RED = Image.new("RGB", (90, 60), (200, 30, 30))


def ended_child(queue: psycopg.Connection[Any], parent: int, index: int, status: str, **columns: Any) -> None:
    queue.execute(
        "INSERT INTO workerctl.history (id, status, kind, queue, priority, max_attempts, failures, deaths, attempt,"
        " children_total, children_succeeded, children_dead, children_cancelled, run_at, created_at, started_at,"
        " node, worker, payload, parent_id, child_index, result, error) "
        "SELECT nextval('workerctl.job_id'), %(status)s::workerctl.job_status, 'image.generate', 'image', 0, 3, 0, 0,"
        " 1, 0, 0, 0, 0, now(), now(), now(), 'n', 'w', '{}', %(parent)s, %(index)s, %(result)s::jsonb, %(error)s",
        {
            "status": status, "parent": parent, "index": index, "error": columns.get("error"),
            "result": msgspec.json.encode(columns["result"]).decode() if "result" in columns else None,
        },
    )  # fmt: skip


def test_every_child_has_its_place_and_failures_are_said(
    queue: psycopg.Connection[Any], queue_context: Callable[..., Context], storage: Storage
):
    parent = enqueue("image.batch", {"prompt": "red"}, conn=queue)
    output = io.BytesIO()
    RED.save(output, "PNG")
    storage.put("red.png", output.getvalue())
    storage.put("broken.png", output.getvalue()[:80])
    made = {"thumbnail": "red.png", "width": 900, "height": 600}
    ended_child(queue, parent, 0, "succeeded", result=made)
    ended_child(queue, parent, 1, "dead", error="content policy\nmore")
    ended_child(queue, parent, 2, "succeeded", result={**made, "thumbnail": "gone.png"})
    ended_child(queue, parent, 3, "succeeded", result={**made, "thumbnail": "broken.png"})
    result = asyncio.run(sheet(ImageSheet(parent=parent, title="red foxes"), queue_context("image.sheet")))
    assert (result["images"], result["failed"], result["format"]) == (3, 1, "png")
    with Image.open(io.BytesIO(storage.get(result["key"]))) as drawn:
        assert drawn.size == (result["width"], result["height"])
        colours = drawn.convert("RGB").getcolors(2**24)
    counted = {colour: times for times, colour in colours or ()}
    assert counted[(200, 30, 30)] == 90 * 60
    assert counted[(226, 226, 224)] == 3 * CELL_PIXELS**2


def test_a_batch_without_a_picture_has_no_sheet(queue: psycopg.Connection[Any], queue_context: Callable[..., Context]):
    with pytest.raises(Fail, match="job 5 has no child with a picture"):
        asyncio.run(sheet(ImageSheet(parent=5), queue_context("image.sheet")))


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (20, 5, 4), (50, 8, 7)])
def test_the_grid_is_about_as_wide_as_it_is_high(count: int, columns: int, rows: int):
    drawn = draw_sheet("t", [Cell(RED, "a")] * count, count)
    assert drawn.width == columns * (CELL_PIXELS + 12) + 12
    assert drawn.height == 56 + rows * (CELL_PIXELS + 34 + 12) + 12


def test_chinese_captions_are_readable_where_a_font_has_them():
    empty, chinese = (draw_sheet(title, [], 1).tobytes() for title in ("", "桃园三结义"))
    assert (empty != chinese) is bool(captions._font_paths())


def test_words_of_several_scripts_are_drawn_piece_by_piece():
    pieces = captions.in_fonts("a fox in 桃园 at\U00016a70 dawn", 20)
    assert "".join(words for words, _ in pieces).replace("桃园", "") == "a fox in  at dawn"
    assert len(pieces) == (3 if captions._font_paths() and "桃" in "".join(words for words, _ in pieces) else 1)


def test_a_long_text_ends_in_its_cell():
    drawn = draw_sheet("", [Cell(None, "x" * 5000), Cell(None, "")], 2)
    second = drawn.crop((12 + CELL_PIXELS + 12, 56 + CELL_PIXELS, *drawn.size))
    assert second.getcolors() == [(second.width * second.height, (250, 250, 248))]
