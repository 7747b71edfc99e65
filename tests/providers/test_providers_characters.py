"""characters.* with a model: its claims stand on quotations, and join what was found offline."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from workerctl.handler import Context, Job
from workerctl.jobs.manifest import Manifest
from workerctl.jobs.novel import NovelSplit, split
from workerctl.jobs.providers.characters import Character, Claim
from workerctl.jobs.providers.claims import Said, joined, proved
from workerctl.jobs.report import Report
from workerctl.jobs.text.quotations import Quotable
from workerctl.storage import Storage
from workerctl.testing.simulator import Fault, FaultKind, Simulator

CHAPTER = (
    "那人姓刘名备。刘备曰：“吾欲破贼。”刘备又曰：“可。”\n玄德见张飞形貌异常，问其姓名。张飞曰：“某姓张。”玄德曰：“好。”\n"
    "张飞大怒曰：“快走！”刘备曰：“翼德且住。”张飞曰：“诺。”\n"
) * 3
NOVEL = f"第一回 桃园\n{CHAPTER}第二回 雨\n{CHAPTER}"


def person(name: str, quotation: str, *aliases: tuple[str, str]) -> dict[str, Any]:
    others = [{"name": alias, "quotation": words} for alias, words in aliases]
    return {"name": name, "quotation": quotation, "aliases": others}


ANSWER = json.dumps(
    {
        "persons": [
            person("刘备", '刘备 曰："吾欲破贼。"', ("玄德", "玄德见张飞形貌异常"), ("皇叔", "人称皇叔")),
            person("张飞", "张飞大怒曰", ("翼德", "刘备曰：“翼德且住。”张飞曰：“诺。”")),
            person("诸葛亮", "孔明大笑"),
        ]
    },
    ensure_ascii=False,
)


def chat(provider: Simulator) -> str:
    return f"""
[providers.reader]
type = "openai"
kinds = ["characters"]
base_url = "{provider.openai_url}"
model = "gpt-4o-mini"
price_output = 2.0
read_timeout = "1s"
"""


def manifest(at: Any) -> str:
    at.storage.put("novel.txt", NOVEL.encode())
    context = Context(Job(1, "novel.split"), at.context(_Nobody).services)
    return split(NovelSplit(key="novel.txt", title="三国"), context)["manifest"]


class _Nobody:
    id, kind, attempt, failures, plan, max_attempts, user_id = 1, "novel.split", 1, 0, None, 3, None


def whole_extraction(at: Any) -> tuple[dict[str, Any], Report]:
    parent = at.enqueue("characters.extract", {"manifest": manifest(at)})
    at.attempt(parent)
    [(child,)] = at.queue.execute("SELECT id FROM workerctl.job WHERE parent_id = %s", [parent]).fetchall()
    share = at.attempt(child)
    assert share["status"] == "succeeded", share["error"]
    [(merge,)] = at.queue.execute("SELECT id FROM workerctl.job WHERE kind = 'characters.merge'").fetchall()
    merged = at.attempt(merge)
    assert merged["status"] == "succeeded", merged["error"]
    result = merged["result"]
    return result, msgspec.json.decode(at.storage.get(result["characters"]), type=Report)


def test_a_models_claims_join_what_was_found_offline(desk: Any, provider: Simulator, storage: Storage):
    pytest.importorskip("jieba", reason="the extra `content` is not installed")
    at = desk(chat(provider))
    provider.say(ANSWER)
    result, report = whole_extraction(at)
    assert (report.provider, result["claims"], result["unproved"]) == ("jieba-local+reader/gpt-4o-mini", 4, 2)
    persons = {one.name: one for one in report.characters}
    assert set(persons) == {"刘备", "张飞"}
    assert set(persons["刘备"].names) == {"刘备", "玄德"}
    assert persons["刘备"].names["玄德"] == 2 * 2 * 3
    text = "".join(storage.get(section.key).decode() for section in _sections(at, report.manifest))
    quotations = [quoted for one in persons.values() for quoted in one.quotations]
    assert len(quotations) == 4
    assert all(quoted.quotation in text for quoted in quotations)
    assert [state for state, _ in at.spend()] == ["paid"]


def _sections(at: Any, key: str) -> Any:
    return msgspec.json.decode(at.storage.get(key), type=Manifest).sections


def test_an_answer_that_lies_in_storage_is_not_asked_for_again(desk: Any, provider: Simulator):
    pytest.importorskip("jieba", reason="the extra `content` is not installed")
    at = desk(chat(provider))
    provider.faults.add(Fault(FaultKind.BAD_JSON, operation="chat"))
    parent = at.enqueue("characters.extract", {"manifest": manifest(at)})
    at.attempt(parent)
    [(child,)] = at.queue.execute("SELECT id FROM workerctl.job WHERE parent_id = %s", [parent]).fetchall()
    first = at.attempt(child)
    assert (first["status"], first["failures"]) == ("pending", 1)
    assert "not the JSON that was asked for" in first["error"]
    provider.say(ANSWER)
    assert at.attempt(child)["status"] == "succeeded"
    assert len(provider.paid) == 2
    again = at.enqueue("characters.chapters", at.job(child)["payload"])
    assert at.attempt(again)["result"]["observations"] == at.job(child)["result"]["observations"]
    assert len(provider.paid) == 2


@pytest.mark.parametrize(
    ("quotation", "found"),
    [
        ("“吾欲破贼”", "吾欲破贼"),
        ('刘备 曰:"吾欲\n破贼。"', "刘备曰：“吾欲破贼。"),
        ("Ａhab said", "Ahab  said"),
        ("ahab SAID 'no", "Ahab  said ‘no"),
        ("曰", None),
        ("", None),
        ("刘备曰：吾欲杀贼", None),
        ("x" * 5000, None),
    ],
)
def test_quotations_are_found_as_models_copy_them(quotation: str, found: str | None):
    assert Quotable("刘备曰：“吾欲破贼。”\nAhab  said ‘no’.").quoted(quotation) == found


def test_a_claim_without_its_name_in_its_quotation_is_none():
    said = msgspec.convert({"persons": [person("张飞", "吾欲破贼"), person("张飞", "张飞曰", ("飞", "张飞曰"))]}, Said)
    claims, unproved = proved(said, [(4, "张飞曰：吾欲破贼")])
    assert claims == [Claim(name="张飞", quotation="张飞曰", section=4)]
    assert unproved == 2


def claim(name: str, alias: str, quotation: str = "") -> Claim:
    return Claim(name=name, alias=alias, quotation=quotation or f"{name}又名{alias}", section=0)


def test_nothing_changes_without_claims():
    offline = [Character(name="刘备", aliases=("刘玄德", "玄德")), Character(name="张飞")]
    assert joined(offline, []) == offline


def test_one_weak_claim_does_not_make_two_persons_one():
    offline = [Character(name="刘备"), Character(name="曹操")]
    assert joined(offline, [claim("刘备", "曹操", "曹操曰")]) == offline
    twice = [claim("刘备", "曹操", "曹操曰"), claim("刘备", "曹操", "曹操又曰")]
    assert [person.names for person in joined(offline, twice)] == [("刘备", "曹操")]


def test_the_name_that_the_model_gives_is_the_persons_name():
    offline = [Character(name="玄德"), Character(name="张飞")]
    assert joined(offline, [claim("刘备", ""), claim("刘备", "玄德", "玄德曰")]) == [
        Character(name="刘备", aliases=("玄德",)),
        Character(name="张飞"),
    ]
