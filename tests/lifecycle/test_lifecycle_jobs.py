"""Jobs as users put, watch and retry them, against one running supervisor."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from typing import Any

import pytest
from lifecycle_house import House, until

FIELDS = {
    "id", "kind", "queue", "status", "priority", "attempt", "max_attempts", "payload", "result", "error", "user_id",
    "plan", "parent_id", "progress", "created_at", "run_at", "started_at", "finished_at", "node", "worker",
}  # fmt: skip


def waited(house: House, *arguments: object, stdin: str = "") -> dict[str, object]:
    """The result that `enqueue --wait` prints."""
    found: dict[str, object] = json.loads(house.ok("enqueue", *arguments, "--wait", stdin=stdin))
    return found


def test_fields_of_the_payload_are_json_where_they_parse(running: House) -> None:
    job = int(
        running.ok("enqueue", "nobody.knows", 'a={"b": [1, null]}', "c=text", "d=007", "e=名字", "f=x=y", "g=NaN")
    )
    payload = {"a": {"b": [1, None]}, "c": "text", "d": "007", "e": "名字", "f": "x=y", "g": "NaN"}
    assert running.job(job)["payload"] == payload
    running.ok("jobs", "cancel", job)


def test_a_payload_comes_as_fields_as_json_from_a_file_or_from_stdin(running: House) -> None:
    assert waited(running, "add", "a=1", "b=2")["sum"] == 3
    assert waited(running, "add", "--payload", '{"a": 2, "b": 2}')["sum"] == 4
    (running.folder / "payload.json").write_text('{"a": 5}')
    assert waited(running, "add", "--payload", "@payload.json")["sum"] == 5
    assert waited(running, "add", "--payload", "-", stdin='{"a": 6}')["sum"] == 6


def test_wait_prints_the_result_and_fails_where_the_job_fails(running: House) -> None:
    assert waited(running, "add", "a=40", "b=2", "--user", "u1", "--plan", "paid") == {
        "sum": 42,
        "user": "u1",
        "plan": "paid",
    }
    line = running.fails(1, "enqueue", "fail", "words=坏了", "--wait")
    assert "is dead" in line
    assert "RuntimeError: 坏了" in line


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["add", "a=many"], 1, "$.a"),
        (["add"], 1, "`a`"),
        (["add", "--payload", "{"], 2, "not JSON"),
        (["add", "--payload", "@missing.json"], 2, "missing.json"),
        (["add", "a"], 2, "KEY=VALUE"),
        (["add", "a=1", "--payload", "{}"], 2, "not both"),
        (["add", "a=1", "--in", "soon"], 2, "--in soon"),
        (["add", "a=1", "--at", "tomorrow"], 2, "--at tomorrow"),
        (["add", "a=1", "--in", "1m", "--at", "2030-01-01"], 2, "not both"),
        (["add", "a=1", "--priority", "101"], 1, "priority 101"),
        (["", "a=1"], 1, "kind"),
        (["nobody.knows", "a=\udcff"], 2, "no text"),
        (["nobody.knows", "--payload", '{"a": "\\ud800"}'], 2, "no text"),
        (["add", "a=1", "--queue", "q" * 300], 1, "queue of 300 characters: at most 200"),
        (["add", "a=1", "--queue", ""], 1, "a queue has a name"),
    ],
)
def test_what_cannot_be_a_job_is_refused_in_one_line(
    running: House, arguments: list[str], code: int, words: str
) -> None:
    assert words in running.fails(code, "enqueue", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["limits", "set", "\udcff", "3"], "no text"),
        (["limits", "set", "user:{user_i", "3"], "in a key stand {user_id}"),
        (["queue", "pause", ""], "a queue has a name"),
        (["schedule", "pause", "\udcff"], "no text"),
        (["jobs", "list", "--user", "\udcff"], "no text"),
    ],
)
def test_what_no_name_or_id_can_be_is_wrong_usage_in_one_line(running: House, arguments: list[str], words: str) -> None:
    assert words in running.fails(2, *arguments)


@pytest.mark.parametrize("mebibytes", [1, 3])
def test_a_payload_over_one_mebibyte_is_refused(running: House, mebibytes: int) -> None:
    big = json.dumps({"text": "x" * (mebibytes << 20)})
    assert "over 1 MiB" in running.fails(1, "enqueue", "nobody.knows", "--payload", "-", stdin=big)


def test_an_unfinished_job_with_the_same_unique_key_is_returned(running: House) -> None:
    first = running.ok("enqueue", "add", "a=1", "--in", "1h", "--unique", "订单-7")
    assert running.ok("enqueue", "add", "a=2", "--unique", "订单-7") == first
    running.ok("jobs", "cancel", int(first))
    assert running.ok("enqueue", "add", "a=2", "--unique", "订单-7") != first


def test_a_job_for_later_says_when_it_is_due(running: House) -> None:
    job = int(running.ok("enqueue", "add", "a=1", "--in", "10m"))
    shown = running.json("jobs", "show", job)
    assert shown["status"] == "pending"
    assert shown["waits_because"].startswith("due in 6") or shown["waits_because"].startswith("due in 5")
    due = dt.datetime.fromisoformat(shown["run_at"]) - dt.datetime.fromisoformat(shown["created_at"])
    assert 595 < due.total_seconds() < 605
    running.ok("jobs", "cancel", job)


def test_a_job_runs_at_its_time_and_not_before(running: House) -> None:
    shown = running.until_status(int(running.ok("enqueue", "add", "a=1", "--in", "700ms")), "succeeded")
    assert dt.timedelta(0) <= shown["started_at"] - shown["run_at"] < dt.timedelta(seconds=2)


def test_a_kind_that_nobody_knows_stays_pending_and_says_so(running: House) -> None:
    done = running.run("enqueue", "nobody.knows")
    assert done.returncode == 0
    job = int(done.stdout)
    shown = running.json("jobs", "show", job)
    assert shown["status"] == "pending"
    assert shown["waits_because"] == "no worker knows the kind 'nobody.knows'"
    assert "no worker knows the kind" in running.ok("jobs", "show", job)
    running.ok("jobs", "cancel", job)


def test_waiting_for_a_kind_that_nobody_knows_says_so(running: House) -> None:
    process = running.launch("enqueue", "nobody.knows", "--wait")
    job = until(lambda: running.json("jobs", "list", "--kind", "nobody.knows", "--status", "pending"))[0]["id"]
    until(lambda: running.job(job)["status"] == "pending")
    running.ok("jobs", "cancel", job)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "is cancelled" in errors
    assert "waits: no worker knows the kind 'nobody.knows'" in errors


def test_jobs_have_the_promised_fields_with_times_in_iso_8601(running: House) -> None:
    waited(running, "add", "a=1", "--user", "somebody")
    [job] = running.json("jobs", "list", "--user", "somebody", "-n", 1)
    assert job.keys() == FIELDS
    assert running.json("jobs", "show", job["id"]).keys() >= FIELDS
    for name in ("created_at", "run_at", "started_at", "finished_at"):
        assert "T" in job[name]
        assert dt.datetime.fromisoformat(job[name]).utcoffset() == dt.timedelta(0)
    assert job["worker"].startswith("default/")
    assert (job["status"], job["attempt"], job["max_attempts"], job["result"]["sum"]) == ("succeeded", 1, 3, 1)


def test_lists_filter_by_status_kind_and_user(running: House) -> None:
    waited(running, "add", "a=1", "--user", "filter")
    running.run("enqueue", "fail", "--user", "filter", "--wait")
    assert [job["kind"] for job in running.json("jobs", "list", "--user", "filter")] == ["fail", "add"]
    assert [job["kind"] for job in running.json("jobs", "list", "--user", "filter", "--kind", "add")] == ["add"]
    assert [job["kind"] for job in running.json("jobs", "list", "--user", "filter", "--status", "dead")] == ["fail"]
    assert "no status 'done'" in running.fails(2, "jobs", "list", "--status", "done")
    assert "not by 'day'" in running.fails(2, "spend", "--by", "day")


def test_stats_count_by_queue_and_kind(running: House) -> None:
    waited(running, "add", "a=1", "--queue", "statistics")

    def counted() -> dict[str, Any]:
        [row] = [row for row in running.json("jobs", "stats") if row["queue"] == "statistics"]
        return row if row["1m"]["succeeded"] else {}

    row = until(counted, 5, what="the worker has said what it ran")
    assert (row["kind"], row["1h"]["succeeded"], row["pending"]) == ("add", 1, 0)
    assert 0 < row["1m"]["run_p50_seconds"] < 1
    assert 0 < row["1m"]["wait_p99_seconds"] < 5
    assert "statistics" in running.ok("jobs", "stats")


def test_jobs_that_do_not_exist_are_named(running: House) -> None:
    for command in ("show", "retry", "cancel"):
        assert "no job 987654321" in running.fails(1, "jobs", command, 987654321)


def test_a_result_that_is_too_big_is_an_error_of_the_job(running: House) -> None:
    assert "over 1 MiB" in running.fails(1, "enqueue", "huge.result", "--wait")


def test_a_failed_attempt_is_tried_again_with_the_next_attempt_number(running: House) -> None:
    assert waited(running, "stumble") == {"attempt": 2}


def test_progress_and_log_lines_of_a_running_job_are_shown(running: House) -> None:
    job = running.gated("progress")
    until(lambda: running.job(job)["progress"] == {"done": 3, "total": 7}, 3, what="progress is told")
    until(lambda: running.json("jobs", "show", job)["log"], 5, what="the log is written while the job runs")
    text = running.ok("jobs", "show", job)
    assert "3/7" in text
    assert "三分之一 done" in text
    running.open_gate()
    running.until_status(job, "succeeded")
    [entry] = running.json("jobs", "show", job)["log"]
    assert (entry["level"], entry["message"], entry["fields"]) == ("warning", "三分之一 done", {"chapter": 3})


def test_a_batch_with_a_failed_child_succeeds_and_a_retry_redoes_just_that(running: House) -> None:
    fixed = running.folder / "fixed"
    fixed.unlink(missing_ok=True)
    payload = {"children": 4, "bad": 2, "fixed": str(fixed), "file": str(running.effects)}
    done = running.run("enqueue", "family", "--payload", json.dumps(payload), "--wait")
    assert done.returncode == 0, done.stderr
    [batch] = running.json("jobs", "list", "--kind", "family", "-n", 1)
    shown = running.json("jobs", "show", batch["id"])
    assert (shown["children_total"], shown["children_succeeded"], shown["children_dead"]) == (4, 3, 1)
    [failed] = shown["failed_children"]
    assert failed["payload"]["number"] == 2
    assert "child is bad" in failed["error"]
    assert "4: 3 succeeded, 1 dead" in running.ok("jobs", "show", batch["id"])
    assert len(running.json("jobs", "list", "--parent", batch["id"])) == 4

    fixed.touch()
    running.ok("jobs", "retry", batch["id"])
    until(lambda: running.job(batch["id"])["children_succeeded"] == 4)
    assert running.until_status(batch["id"], "succeeded")["children_dead"] == 0
    assert [len(running.noted(f"child-{number}")) for number in range(4)] == [1, 1, 2, 1]
    assert "nothing to redo" in running.fails(1, "jobs", "retry", batch["id"])


def test_a_batch_whose_children_all_fail_is_dead(running: House) -> None:
    payload = {"children": 1, "bad": 0, "fixed": "/nowhere", "file": str(running.effects)}
    line = running.fails(1, "enqueue", "family", "--payload", json.dumps(payload), "--wait")
    assert "1 of 1 children failed; see `workerctl jobs show" in line


def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(running: House) -> None:
    running.ok("queue", "pause", "halted")
    job = int(running.ok("enqueue", "add", "a=1", "--queue", "halted"))
    assert running.job(job)["waits_because"] == "queue 'halted' is paused"
    running.ok("queue", "resume", "halted")
    running.until_status(job, "succeeded", 3)
    assert "halted" in running.ok("queue", "list")


def test_a_program_below_the_project_enqueues_into_its_queue(running: House) -> None:
    below = running.folder / "app" / "web"
    below.mkdir(parents=True)
    program = "from workerctl import enqueue; print(enqueue('add', {'a': 1, 'b': 2}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=below, env=running.environ, capture_output=True,
                          text=True, timeout=30, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert running.until_status(int(done.stdout), "succeeded")["result"]["sum"] == 3


def test_the_node_is_listed_as_alive_and_primary(running: House) -> None:
    [node] = until(lambda: [node for node in running.json("nodes") if node["workers"]])
    assert node["alive"]
    assert node["is_primary"]
    assert node["workers"] == 2
