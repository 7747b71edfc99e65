"""text.generate: templates, long inputs, schemas with one repair, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workerctl.handler import InvalidPayload
from workerctl.jobs.providers.schemas import Misfit, fitting, is_strict
from workerctl.jobs.text.cutting import estimate_tokens
from workerctl.storage import Storage
from workerctl.testing.simulator import Fault, FaultKind, Simulator

K = FaultKind
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "year": {"type": "integer"}},
    "required": ["title", "year"],
    "additionalProperties": False,
}


def chat(provider: Simulator, more: str = "") -> str:
    return f"""
[providers.chat]
type = "openai"
kinds = ["text"]
base_url = "{provider.openai_url}"
model = "gpt-4o-mini"
price_input = 2.0
price_output = 2.0
read_timeout = "1s"
{more}
"""


def test_a_text_comes_with_its_tokens_and_its_cost(desk: Any, provider: Simulator, storage: Storage):
    at = desk(chat(provider))
    provider.say("刘备见张飞。" * 5)
    job = at.run("text.generate", {"prompt": "Tell me", "system": "Be brief."}, user_id="u1")
    assert job["status"] == "succeeded", job["error"]
    result = job["result"]
    assert result["text"] == "刘备见张飞。" * 5 == storage.get(result["key"]).decode()
    assert (result["finish_reason"], result["repaired"], result["model"]) == ("stop", False, "gpt-4o-mini")
    [entry] = provider.paid
    assert result["cost"] == pytest.approx(entry.cost_usd, abs=1e-6)
    assert at.spend() == [("paid", pytest.approx(entry.cost_usd, abs=1e-6))]
    assert at.last.progress_now[1] == 2000
    assert 0 < at.last.progress_now[0] <= 2000


def test_a_template_is_filled_from_the_users_folder_before_ours(desk: Any, provider: Simulator, tmp_path: Path):
    at = desk(chat(provider))
    first = at.run("text.generate", {"template": "summary", "variables": {"sentences": 2}, "input": "A text."})
    assert first["status"] == "succeeded", first["error"]
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "summary.md").write_text("You price in $$.\n---\nPrice $thing:\n$input")
    at.run("text.generate", {"template": "summary", "variables": {"thing": "a cup"}, "input": "It is blue."})
    assert [entry.prompt for entry in provider.paid] == [
        "Summarise the following text in at most 2 sentences.\n\nA text.",
        "Price a cup:\nIt is blue.",
    ]


@pytest.mark.parametrize(
    ("payload", "path", "said"),
    [
        ({}, "prompt", "exactly one of"),
        ({"prompt": "a", "template": "summary"}, "prompt", "exactly one of"),
        ({"prompt": " "}, "prompt", "regex"),
        ({"prompt": "x" * 200_001}, "prompt", "length <= 200000"),
        ({"template": "../secrets"}, "template", "no name of a template"),
        ({"template": "nothing"}, "template", "no template 'nothing'.*characters, summary"),
        ({"template": "summary"}, "template", r"it has \$sentences, and nothing is given"),
        ({"prompt": "a", "max_output_tokens": 0}, "max_output_tokens", ">= 1"),
        ({"prompt": "a", "schema": {"type": "strin"}}, "schema", "not valid under any"),
        ({"prompt": "a", "schema": {"type": "array"}}, "schema", "must be object"),
        ({"prompt": "a", "input": "x", "input_key": "y"}, "input_key", "not both"),
        ({"prompt": "a", "input_key": "a/../b"}, "input_key", r"'\.\.' parts"),
    ],
)
def test_what_cannot_be_is_refused_at_enqueue(desk: Any, payload: dict[str, Any], path: str, said: str):
    with pytest.raises(InvalidPayload, match=rf"(?s){said}.*at `\$\.{path}`"):
        desk("").enqueue("text.generate", payload)


def test_without_a_provider_the_job_says_what_to_configure(desk: Any):
    job = desk("").run("text.generate", {"prompt": "a"})
    assert job["status"] == "dead"
    assert (
        job["error"]
        == 'no provider serves text.generate: add one with kinds = ["text"] and type "openai" to [providers]'
    )


def test_a_long_input_is_cut_to_the_tokens_that_the_provider_takes(desk: Any, provider: Simulator, storage: Storage):
    at = desk(chat(provider, "max_input = 200"))
    text = "".join(f"第{number}段，他说了很多话。\n" for number in range(200))
    storage.put("long.txt", text.encode("gb18030"))
    result = at.run("text.generate", {"prompt": "Read:", "input_key": "long.txt"})["result"]
    assert (result["input_characters"], result["input_characters_used"] < 250) == (len(text), True)
    [entry] = provider.paid
    assert estimate_tokens(entry.prompt) <= 200
    assert entry.prompt == "Read:\n\n" + text[: result["input_characters_used"]].strip() or entry.prompt.startswith(
        "Read:"
    )


def test_an_answer_of_the_schema_is_given_as_json(desk: Any, provider: Simulator):
    result = desk(chat(provider)).run("text.generate", {"prompt": "A book", "schema": SCHEMA})["result"]
    assert result["json"] == {"title": "sample", "year": 1}
    assert result["repaired"] is False


def test_one_that_does_not_fit_is_repaired_once_and_paid_twice(desk: Any, provider: Simulator):
    at = desk(chat(provider))
    provider.say('{"title": "Three Kingdoms"}', '```json\n{"title": "Three Kingdoms", "year": 1522}\n```')
    job = at.run("text.generate", {"prompt": "A book", "schema": SCHEMA})
    assert job["result"]["json"] == {"title": "Three Kingdoms", "year": 1522}
    assert job["result"]["repaired"] is True
    assert [state for state, _ in at.spend()] == ["paid", "paid"]
    assert "'year' is a required property" in provider.paid[1].prompt
    assert job["result"]["cost"] == pytest.approx(sum(cost for _, cost in at.spend()), abs=1e-6)


def test_two_answers_that_do_not_fit_are_final(desk: Any, provider: Simulator):
    at = desk(chat(provider))
    provider.say("no json at all", '{"title": 5, "year": 1}')
    job = at.run("text.generate", {"prompt": "A book", "schema": SCHEMA}, attempts=3)
    assert job["status"] == "dead"
    assert "nor does its repair" in job["error"]
    assert "$.title: 5 is not of type 'string'" in job["error"]
    assert len(provider.paid) == 2


@pytest.mark.parametrize(
    "kind", [K.SERVER_ERROR, K.RESET, K.HALF_BODY, K.HANG, K.WRONG_TYPE], ids=lambda one: one.value
)
def test_a_stream_that_breaks_off_is_asked_for_again_and_paid_for_once(desk: Any, provider: Simulator, kind: FaultKind):
    at = desk(chat(provider))
    provider.faults.add(Fault(kind, operation="chat"))
    job = at.run("text.generate", {"prompt": "Tell me"}, attempts=2)
    assert job["status"] == "succeeded", job["error"]
    assert (len(provider.paid), [state for state, _ in at.spend()]) == (1, ["paid"])


def test_a_refused_conversation_is_final(desk: Any, provider: Simulator):
    at = desk(chat(provider))
    provider.faults.add(Fault(K.REFUSED, operation="chat"))
    job = at.run("text.generate", {"prompt": "Tell me"})
    assert job["status"] == "dead"
    assert "provider chat refuses" in job["error"]


def test_what_is_strict_for_a_provider():
    assert is_strict(SCHEMA)
    assert not is_strict(SCHEMA | {"required": ["title"]})
    assert not is_strict({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}})


def test_misfits_are_named_with_their_path():
    nested = {"type": "object", "properties": {"list": {"type": "array", "items": SCHEMA}}}
    with pytest.raises(Misfit, match=r"\$\.list\[1\]\.year: 'x' is not of type 'integer'"):
        fitting(json.dumps({"list": [{"title": "", "year": 1}, {"title": "", "year": "x"}]}), nested)
    with pytest.raises(Misfit, match="it is not JSON"):
        fitting("{", SCHEMA)
