"""Poison: with several jobs in hand a death does not say whose it was; alone it does."""

from __future__ import annotations

from typing import Any

import psycopg

from workerctl.broker.exchange import Again, Ended
from workerctl.broker.fleet import release_worker
from workerctl.broker.jobs import show_job
from workerctl.broker.limits import configure_limits
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


def die_with(queue: Queue, worker: Any, want: int) -> list[int]:
    """The worker claims and is killed with all of it in hand."""
    ids = [job for job, _ in worker.claims(want)]
    release_worker(queue, worker.incarnation, died=True)
    return ids


def test_the_innocent_run_alone_once_and_only_the_guilty_ends(queue: Queue, new_worker: Any) -> None:
    ids = enqueue_many([("a", {"n": n}) for n in range(4)], conn=queue)
    guilty = ids[2]
    assert die_with(queue, new_worker(), 8) == ids
    for _ in range(20):
        worker = new_worker()
        jobs = worker.claims(8)
        if not jobs:
            break
        assert len(jobs) == 1
        if jobs[0][0] == guilty:
            release_worker(queue, worker.incarnation, died=True)
        else:
            worker.says(ended=[Ended(*jobs[0], "succeeded")])
    assert [show_job(queue, job_id)["status"] for job_id in ids] == ["succeeded", "succeeded", "dead", "succeeded"]
    assert show_job(queue, guilty)["attempt"] == 4


def test_a_busy_worker_empties_its_hands_for_a_suspect(queue: Queue, new_worker: Any) -> None:
    suspect = enqueue("a", conn=queue)
    die_with(queue, new_worker(), 1)
    others = enqueue_many([("b", None)] * 3, conn=queue)
    busy, sibling = new_worker(), new_worker()
    assert busy.says(want=4, in_hand=1).claimed is None, "it stops claiming"
    assert [job.id for job in sibling.says(want=4, in_hand=1).claimed or []] == others, "one worker is enough for that"
    assert [job.id for job in busy.says(want=4).claimed or []] == [suspect]


def test_half_of_the_workers_go_on_with_other_jobs_however_many_suspects_wait(queue: Queue, new_worker: Any) -> None:
    enqueue_many([("a", None)] * 6, conn=queue)
    die_with(queue, new_worker(), 6)
    enqueue_many([("b", None)] * 8, conn=queue)
    workers = [new_worker() for _ in range(4)]
    claimed = [len(worker.says(want=2, in_hand=1).claimed or []) for worker in workers]
    assert claimed == [0, 0, 2, 2]
    assert [len(worker.claims(8)) for worker in workers[:2]] == [1, 1], "they run one suspect each"
    assert len(workers[2].says(want=2, in_hand=2).claimed or []) == 2, "two are busy with suspects"


def test_a_reservation_of_a_worker_that_is_gone_counts_for_nothing(queue: Queue, new_worker: Any) -> None:
    suspect = enqueue("a", conn=queue)
    die_with(queue, new_worker(), 1)
    gone, other = new_worker(), new_worker()
    assert gone.says(want=1, in_hand=3).claimed is None
    release_worker(queue, gone.incarnation, died=True)
    assert other.says(want=1, in_hand=1).claimed is None
    assert other.claims(1) == [(suspect, 2)]


def test_an_idle_worker_takes_a_suspect_whoever_reserved_it(queue: Queue, new_worker: Any) -> None:
    suspect = enqueue("a", conn=queue)
    die_with(queue, new_worker(), 1)
    busy, idle = new_worker(), new_worker()
    busy.says(want=1, in_hand=1)
    assert idle.claims(8) == [(suspect, 2)]
    enqueue("b", conn=queue)
    assert len(busy.says(want=1, in_hand=1).claimed or []) == 1, "it goes on"


def test_a_suspect_is_under_its_limits_too(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"a": 1, "user:{user_id}": 1}, {}, {})
    first, second = enqueue_many([{"kind": "a", "user_id": "u"}, {"kind": "a", "user_id": "u"}], conn=queue)
    assert die_with(queue, new_worker(), 8) == [first]
    one, other = new_worker(), new_worker()
    assert one.claims(8) == [(first, 2)]
    assert other.claims(8) == []
    one.says(ended=[Ended(first, 2, "succeeded")])
    assert other.claims(8) == [(second, 1)]


def test_a_suspect_whose_kind_has_no_seat_keeps_neither_other_suspects_nor_busy_workers_waiting(
    queue: Queue, new_worker: Any
) -> None:
    configure_limits(queue, {"a": 1}, {}, {})
    enqueue("a", conn=queue)
    die_with(queue, new_worker(kinds=("a",)), 1)
    queue.execute("UPDATE workerctl.limits SET most = 0 WHERE name = 'a'")
    other = enqueue("b", conn=queue)
    die_with(queue, new_worker(kinds=("b",)), 1)
    fresh = enqueue("b", conn=queue)
    assert new_worker().claims(1) == [(other, 2)]
    assert [job.id for job in new_worker().says(want=1, in_hand=1).claimed or []] == [fresh]


def test_what_is_known_of_a_death_stands_in_the_error_of_its_jobs(queue: Queue, new_worker: Any) -> None:
    job = enqueue("a", conn=queue)
    for _ in range(3):
        worker = new_worker()
        worker.claims(1)
        release_worker(queue, worker.incarnation, died=True, words="hung, was killed by signal 9\nThread 0x1 \x00")
        assert "signal 9\nThread 0x1" in show_job(queue, job)["error"]
    ended = show_job(queue, job)
    assert ended["status"] == "dead"
    assert ended["error"].startswith("its worker died 3 times with nothing but this job in hand: hung, was killed")


def test_a_suspect_that_was_tried_again_later_does_not_wait_behind_all_who_come(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"user:{user_id}": 1}, {}, {})
    suspect = enqueue("a", user_id="u", conn=queue)
    assert die_with(queue, new_worker(), 8) == [suspect]
    one, other = new_worker(), new_worker()
    one.says(again=[Again(*claim, delay_seconds=60) for claim in one.claims(1)])
    enqueue("a", user_id="u", conn=queue)
    (claim,) = one.claims(1)
    queue.execute(
        "UPDATE workerctl.live SET run_at = now(), rank = workerctl.later_rank(now(), priority) WHERE id = %s",
        [suspect],
    )
    assert other.claims(8) == [], "its user has no seat"
    enqueue("a", user_id="u", conn=queue)
    assert other.claims(8) == []
    one.says(ended=[Ended(*claim, "succeeded")])
    assert other.claims(8) == [(suspect, 3)]
