"""Cancel and retry of a batch too large for one transaction: whoever asked may die after any of them."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest
from broker_ends import ended, status

from workerctl.agent.primary import Primary
from workerctl.broker.exchange import Again, Ended, Parent
from workerctl.broker.jobs import BeingCancelled, cancel_jobs, list_jobs, retry_jobs, show_job, sweep_on
from workerctl.producer import enqueue
from workerctl.settings import Settings

Queue = psycopg.Connection[Any]


def begin_batch(queue: Queue, worker: Any, count: int, kind: str = "b") -> int:
    """A batch of `count` children, with a job to follow it."""
    batch = enqueue("a", conn=queue)
    [(claimed, attempt)] = worker.claims(1)
    assert claimed == batch
    worker.says(parents=[Parent(batch, attempt, [{"kind": kind}] * count, on_done={"kind": "after"})])
    return batch


def ask(queue: Queue, what: str, job_id: int, most: int) -> int:
    """What a command does that is killed after its first transaction."""
    ids: Any = [job_id] if what == "cancel" else job_id
    cast = "bigint[]" if what == "cancel" else "bigint"
    [(count,)] = queue.execute(f"SELECT workerctl.{what}(%s::{cast}, %s)", [ids, most]).fetchall()
    queue.execute("UPDATE workerctl.sweep SET at = at - interval '11 seconds'")
    return int(count)


def go_on(queue: Queue, most: int = 7) -> int:
    """What the primary does with what was left behind; how many jobs it came by."""
    count, more = 0, True
    while more:
        jobs, more = sweep_on(queue, None, most)
        assert jobs <= most
        count += jobs
    assert queue.execute("SELECT * FROM workerctl.sweep").fetchall() == []
    return count


def end_all(worker: Any, how: str = "succeeded") -> int:
    """Claim and end jobs until there are none; how many those were."""
    count = 0
    while claimed := worker.claims(50):
        worker.says(ended=[ended(job, how) for job in claimed])
        count += len(claimed)
    return count


def ends(queue: Queue, job_id: int) -> list[str]:
    return [end for (end,) in queue.execute("SELECT status FROM workerctl.history WHERE id = %s", [job_id]).fetchall()]


def test_a_cancel_that_was_left_behind_ends_its_batch_as_cancelled_whoever_claims_meanwhile(
    queue: Queue, new_worker: Any
) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 60)
    assert ask(queue, "cancel", batch, 10) == 1
    assert sweep_on(queue, None, 10) == (10, True)
    done, running = worker.claims(2)
    worker.says(ended=[ended(done)])
    assert status(queue, batch) == "waiting"
    assert go_on(queue) == 49
    assert worker.claims(8) == []
    assert worker.says(renew_seconds=30.0).cancel == [running[0]]
    worker.says(again=[Again(*running, failed=True)])
    row = show_job(queue, batch)
    assert (row["status"], row["children_succeeded"], row["children_cancelled"]) == ("cancelled", 1, 59)
    assert ends(queue, batch) == ["cancelled"]
    assert list_jobs(queue, kind="after") == []


def test_a_retry_that_was_left_behind_redoes_each_child_once_before_its_batch_ends(
    queue: Queue, new_worker: Any
) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 60)
    ok = worker.claims(5)
    worker.says(ended=[ended(job) for job in ok])
    end_all(worker, "dead")
    assert (status(queue, batch), len(list_jobs(queue, kind="after"))) == ("succeeded", 1)
    assert ask(queue, "retry", batch, 10) == 5, "of the first ten"
    assert end_all(worker, "dead") == 5, "they fail once more"
    assert status(queue, batch) == "waiting", "more of its children come back"
    assert go_on(queue) == 50
    assert end_all(worker) == 50
    row = show_job(queue, batch)
    assert (row["status"], row["children_succeeded"], row["children_dead"]) == ("succeeded", 55, 5)
    assert len(list_jobs(queue, kind="after")) == 2, "one for each time that it ended"


def test_a_retry_of_a_batch_whose_children_are_faster_than_it_ends_it_at_last(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 20)
    end_all(worker, "dead")
    ask(queue, "retry", batch, 20)
    assert end_all(worker) == 20
    assert status(queue, batch) == "waiting"
    assert go_on(queue) == 0
    assert ends(queue, batch) == ["succeeded"]


def test_a_retry_goes_through_batches_of_batches_and_none_of_them_ends_in_between(
    queue: Queue, new_worker: Any
) -> None:
    worker = new_worker()
    outer = begin_batch(queue, worker, 3)
    inner = worker.claims(3)
    worker.says(parents=[Parent(*job, [{"kind": "b"}] * 9) for job in inner])
    end_all(worker, "dead")
    redone = ask(queue, "retry", outer, 4)
    while jobs_more := sweep_on(queue, [outer], 4):
        end_all(worker)
        redone += jobs_more[0]
        if not jobs_more[1]:
            break
        assert status(queue, outer) in ("waiting", "dead"), "it has not succeeded before all came back"
        assert ends(queue, outer) in ([], ["dead"])
    assert redone == 27
    assert [status(queue, job) for job, _ in (*inner, (outer, 1))] == ["succeeded"] * 4
    assert show_job(queue, outer)["children_succeeded"] == 3


def test_a_cancel_overtakes_a_retry_and_a_retry_waits_for_a_cancel(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 40)
    end_all(worker, "dead")
    child = list_jobs(queue, parent_id=batch)[0]["id"]
    ask(queue, "retry", batch, 10)
    assert ask(queue, "cancel", batch, 5) == 1
    assert sweep_on(queue, None, 5) == (5, True)
    for job_id in (batch, child):
        with pytest.raises(BeingCancelled, match=f"job {batch} is still being cancelled; try again"):
            retry_jobs(queue, [job_id])
    go_on(queue)
    row = show_job(queue, batch)
    assert (row["status"], row["children_cancelled"], row["children_dead"]) == ("cancelled", 10, 30)
    assert retry_jobs(queue, [batch]) == 40


@pytest.mark.parametrize("above", [False, True])
def test_a_cancel_ends_a_batch_that_only_a_retry_kept_from_ending(
    queue: Queue, new_worker: Any, *, above: bool
) -> None:
    worker = new_worker()
    outer = begin_batch(queue, worker, 1)
    [inner] = worker.claims(1)
    worker.says(parents=[Parent(*inner, [{"kind": "b"}] * 3)])
    claimed = worker.claims(3)
    worker.says(ended=[ended(job) for job in claimed[:2]])
    assert ask(queue, "retry", inner[0], 1) == 0, "its first child has succeeded"
    worker.says(ended=[ended(claimed[2])])
    assert status(queue, inner[0]) == "waiting", "perhaps more of its children come back"
    assert cancel_jobs(queue, [outer if above else inner[0]]) == 1 + above
    assert [status(queue, job) for job in (inner[0], outer)] == ["cancelled", "cancelled"]


def test_what_is_left_of_a_cancel_does_not_touch_a_batch_that_ended_and_is_retried(
    queue: Queue, new_worker: Any
) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 4)
    claimed = worker.claims(4)
    ask(queue, "cancel", batch, 1)
    worker.says(ended=[ended(job, "dead") for job in claimed])
    assert status(queue, batch) == "cancelled"
    assert retry_jobs(queue, [claimed[0][0]]) == 1
    go_on(queue)
    assert status(queue, claimed[0][0]) == "pending"


def test_the_primary_goes_on_with_what_was_left_behind(queue: Queue, new_worker: Any, capsys: Any) -> None:
    worker, primary = new_worker(), Primary(Settings(), "n1/1", "n1")
    batch = begin_batch(queue, worker, 3000)
    primary.renew(queue)
    ask(queue, "cancel", batch, 100)
    looks = 1
    while primary.work(queue, 1.0):
        looks += 1
    assert looks == 4, "a thousand at a time, and whether there are more"
    assert status(queue, batch) == "cancelled"
    assert not primary.work(queue, 2.0)
    assert capsys.readouterr().out == "went on with a cancel or retry that was left behind: 3000 jobs\n"


def test_what_somebody_goes_on_with_is_left_to_him(queue: Queue, new_worker: Any) -> None:
    batch = begin_batch(queue, new_worker(), 20)
    ask(queue, "cancel", batch, 5)
    assert sweep_on(queue, [batch], 5) == (5, True)
    assert sweep_on(queue, None, 5) == (0, False)


def test_many_children_are_cancelled_and_redone_some_thousand_at_a_time(queue: Queue, new_worker: Any) -> None:
    """Of 10,000 a retry took 9 s, and of 200,000 a cancel more than a statement may."""
    batch = begin_batch(queue, new_worker(), 12_000)
    told: list[int] = []
    assert cancel_jobs(queue, [batch], told.append) == 12_001
    assert told == [1, *range(2001, 12_002, 2000)]
    assert status(queue, batch) == "cancelled"
    assert retry_jobs(queue, [batch]) == 12_000
    assert show_job(queue, batch)["progress"] == {"done": 0, "total": 12_000}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_asked_of_a_family_and_left_behind_it_ends_once_and_as_was_asked_last(
    queue: Queue, new_worker: Any, seed: int
) -> None:
    chance = random.Random(seed)
    worker = new_worker()
    root = begin_batch(queue, worker, 6)
    family = [root]
    hands: list[tuple[int, int]] = []
    wanted = None  # "cancelled" from a cancel of the root on, until it is retried
    for _ in range(120):
        act = chance.choice(["claim", "end", "end", "split", "cancel", "retry", "go on"])
        job_id = chance.choice(family)
        if act == "claim":
            hands += worker.claims(chance.choice([1, 3]))
        elif act == "end" and hands:
            job = hands.pop(chance.randrange(len(hands)))
            worker.says(ended=[Ended(*job, chance.choice(["succeeded", "dead"]))])
        elif act == "split" and hands:
            job = hands.pop()
            worker.says(parents=[Parent(*job, [{"kind": "b"}] * chance.choice([1, 5]), on_done={"kind": "after"})])
            family.append(job[0])
        elif act == "cancel":
            if ask(queue, "cancel", job_id, chance.choice([1, 3])) and job_id == root:
                wanted = "cancelled"
        elif act == "retry":
            try:
                ask(queue, "retry", job_id, chance.choice([1, 3]))
                wanted = None
            except psycopg.Error as error:
                assert error.sqlstate == "WQ005"
        elif act == "go on":
            sweep_on(queue, None, chance.choice([1, 3]))
        assert queue.execute("SELECT id, rule FROM workerctl.unsound").fetchall() == []
        assert wanted is None or status(queue, root) in ("waiting", "cancelled")
    go_on(queue, 3)
    worker.says(ended=[Ended(*job) for job in hands])
    end_all(worker)
    assert {job["kind"] for job in list_jobs(queue, limit=1000) if job["finished_at"] is None} <= {"after"}
    assert queue.execute("SELECT id FROM workerctl.history GROUP BY id HAVING count(*) > 1").fetchall() == []
    assert wanted is None or status(queue, root) == wanted
    for batch in family:
        row = show_job(queue, batch)
        counted = [row["children_succeeded"], row["children_dead"], row["children_cancelled"]]
        found = [child["status"] for child in list_jobs(queue, parent_id=batch)]
        assert counted == [found.count(end) for end in ("succeeded", "dead", "cancelled")], row
