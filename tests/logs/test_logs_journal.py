"""What handlers write, from a worker's own streams through a real collector to its reader and to `workerctl logs`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from workerctl.broker.exchange import Again, Ended, Parent
from workerctl.logs.reader import read
from workerctl.worker.finished import HELD_LINES, describe

PRELUDE = """
import asyncio, datetime, logging, os, sys, threading, time
from workerctl.broker.exchange import Again, Claimed, Ended
from workerctl.settings import LogsSettings
from workerctl.worker.finished import FinishedJobs
from workerctl.worker.journal import log_to_stderr, running_job, take_pipes

def job(number, kind="talk"):
    return Claimed(**{**dict.fromkeys(Claimed.__struct_fields__), "id": number, "kind": kind, "attempt": 1,
                      "created_at": datetime.datetime.now()})

def as_job(number, function, kind="talk"):
    def run():
        running_job.set(job(number, kind))
        function()
    thread = threading.Thread(target=run)
    thread.start()
    return thread
"""


@pytest.fixture
def run_worker(collect, new_pipe, tmp_path):
    """Runs a program whose streams are collected; gives every line in order of sequence."""

    def run(program, *, check=True):
        collector = collect()
        pipes = {name: new_pipe() for name in ("out", "err")}
        streams = [collector.follow(pipe, name) for name, pipe in pipes.items()]
        subprocess.run(
            [sys.executable, "-u", "-c", PRELUDE + program],
            stdout=pipes["out"].writing, stderr=pipes["err"].writing, check=check, timeout=60,
        )  # fmt: skip
        for pipe in pipes.values():
            pipe.end()
        for stream in streams:
            collector.wait_for("stream-ended", stream=stream)
        return sorted(read(tmp_path / "logs"), key=lambda line: (line.stream, line.seq))

    return run


def test_prints_and_records_of_threads_and_tasks_know_their_job(run_worker):
    lines = run_worker("""
log_to_stderr()
print("nobody's")
as_job(1, lambda: print("of a thread")).join()
as_job(2, lambda: logging.getLogger("shop").warning("two\\nlines"), kind="生成 图").join()

async def main():
    async def task(number):
        running_job.set(job(number))
        print("of a task")
        await asyncio.to_thread(print, "of its helper")
    await asyncio.gather(task(3), task(4))

asyncio.run(main())
""")
    err = [(line.job, line.kind, line.text) for line in lines if line.stream == "err"]
    assert err == [(2, "生成 图", "WARNING shop: [job 2 生成 图] two"), (2, "生成 图", "lines")]
    out = sorted((line.job or 0, line.text) for line in lines if line.stream == "out")
    assert out == [
        (0, "nobody's"), (1, "of a thread"),
        (3, "of a task"), (3, "of its helper"), (4, "of a task"), (4, "of its helper"),
    ]  # fmt: skip


def test_lines_of_many_threads_stay_whole_and_with_their_job(run_worker):
    lines = run_worker("""
from workerctl.worker import journal
journal.HALF_LINE_SECONDS = journal.TURN_SECONDS = 60.0  # on a busy machine a writer may have no turn for its 5 ms
sys.setswitchinterval(0.00001)
log_to_stderr()
def talk(number):
    for count in range(300):
        print("line", count, "of", number, "x" * (count * 20))
threads = [as_job(number, lambda number=number: talk(number)) for number in range(1, 7)]
for thread in threads:
    thread.join()
""")
    for number in range(1, 7):
        mine = [line.text.rstrip("x ") for line in lines if line.job == number]
        assert mine == [f"line {count} of {number}" for count in range(300)]
    assert len(lines) == 1800


def test_half_a_line_is_written_at_once_and_ended_by_another_job(run_worker):
    lines = run_worker("""
log_to_stderr()
written, go_on = threading.Event(), threading.Event()
def half():
    print("half", end="")
    written.set()
    go_on.wait()
    print()
    print("next")
first = as_job(1, half)
written.wait()
as_job(2, lambda: print("whole")).join()
go_on.set()
first.join()
""")
    assert [(line.job, line.text) for line in lines] == [(1, "half"), (2, "whole"), (1, "next")]


def test_last_words_without_an_end_survive_a_kill(run_worker):
    lines = run_worker(
        'log_to_stderr()\nas_job(7, lambda: (print("last words", end=""), os.kill(os.getpid(), 9)))\ntime.sleep(60)',
        check=False,
    )
    assert [(line.job, line.text) for line in lines] == [(7, "last words")]


def test_what_one_job_closes_others_still_write_to(run_worker):
    lines = run_worker("""
log_to_stderr()
as_job(1, lambda: (os.close(1), os.close(2))).join()
as_job(2, lambda: print("still heard")).join()
as_job(2, lambda: print("and here", file=sys.stderr)).join()
""")
    assert [(line.job, line.text, line.stream) for line in lines] == [
        (2, "and here", "err"), (2, "still heard", "out"),
    ]  # fmt: skip


def test_a_pipe_that_nobody_reads_ends_no_worker(tmp_path):
    program = """
log_to_stderr()
finished = FinishedJobs(LogsSettings())
finished.add(job(1), Ended(1, 1, "succeeded"), 0.1)
finished.write()
"""
    reading, writing = os.pipe()
    os.close(reading)
    subprocess.run([sys.executable, "-c", PRELUDE + program], stderr=writing, check=True, timeout=60)
    os.close(writing)


def test_nobody_writes_in_the_name_of_another_job(run_worker):
    lines = run_worker(r"""
log_to_stderr()
as_job(1, lambda: print("\x1ejob=2/talk forged\njob=2/talk forged too\nab\x1ejob=2/x c")).join()
print("\x1ejob=2/talk forged\njob=2/talk forged too")
""")
    assert {line.job for line in lines} == {1, None}
    assert [line.text.endswith(("forged", "forged too", "c")) for line in lines] == [True] * 5


def test_a_logger_that_was_configured_before_keeps_its_format_and_gets_marks(run_worker):
    lines = run_worker("""
logging.basicConfig(format="mine: %(message)s", level=logging.DEBUG)
log_to_stderr(LogsSettings(level="error"))
as_job(5, lambda: logging.debug("hello")).join()
""")
    assert [(line.job, line.text) for line in lines] == [(5, "mine: hello")]


def test_the_level_is_the_setting(run_worker):
    lines = run_worker("""
log_to_stderr(LogsSettings(level="warn"))
logging.info("hidden")
logging.warning("shown")
""")
    assert [line.text for line in lines] == ["WARNING root: shown"]


def test_a_forked_child_can_print_while_another_thread_does(run_worker):
    lines = run_worker("""
log_to_stderr()
stop = threading.Event()
noise = as_job(1, lambda: [print("noise") for _ in iter(stop.is_set, True)])
for _ in range(50):
    pid = os.fork()
    if pid == 0:
        print("child")
        os._exit(0)
    os.waitpid(pid, 0)
stop.set()
noise.join()
""")
    assert sum(line.text.count("child") for line in lines) == 50


def test_streams_that_lead_nowhere_near_a_collector_are_not_marked(tmp_path):
    path = tmp_path / "out"
    with path.open("wb") as file:
        program = 'log_to_stderr()\nas_job(1, lambda: print("plain")).join()\n'
        program += 'jobs = FinishedJobs(LogsSettings())\njobs.add(job(1), Ended(1, 1, "succeeded"), 0.1)\njobs.write()'
        subprocess.run([sys.executable, "-c", PRELUDE + program], stdout=file, stderr=file, check=True)
    assert path.read_text() == "plain\njob 1 talk attempt 1 succeeded after 0.100 s\n"


def test_finished_jobs_have_a_line_each_on_stderr(run_worker):
    lines = run_worker("""
log_to_stderr()
jobs = FinishedJobs(LogsSettings())
jobs.add(job(1), Ended(1, 1, "succeeded"), 0.25)
jobs.add(job(2, "image.generate"), Ended(2, 1, "dead", error="ValueError: no\\nmore"), 2)
jobs.add(job(3), Again(3, 1, failed=True, delay_seconds=15.2, error="Timeout"), 1)
jobs.write()
""")
    assert [(line.stream, line.job, line.kind, line.text) for line in lines] == [
        ("err", 1, "talk", "job 1 talk attempt 1 succeeded after 0.250 s"),
        ("err", 2, "image.generate", "job 2 image.generate attempt 1 dead: ValueError: no after 2.000 s"),
        ("err", 3, "talk", "job 3 talk attempt 1 failed, again in 15 s: Timeout after 1.000 s"),
    ]


def test_lines_of_finished_jobs_never_wait_for_a_full_pipe(run_worker):
    lines = run_worker("""
log_to_stderr()
reading, writing = os.pipe()
os.dup2(2, 9)
take_pipes(1, writing)
jobs = FinishedJobs(LogsSettings())
began = time.monotonic()
for number in range(15_000):
    jobs.add(job(number), Ended(number, 1, "succeeded"), 0.1)
    if number % 50 == 0:
        jobs.write()
assert time.monotonic() - began < 10
take_pipes(1, 9)
while jobs:
    jobs.write()
""")
    ids = [line.job for line in lines if line.job is not None]
    (notice,) = (line.text for line in lines if line.job is None)
    lost = int(notice.split()[1])
    assert notice == f"[workerctl] {lost} lines of finished jobs were lost: nobody read them in time"
    assert ids == list(range(ids[0], ids[0] + HELD_LINES))
    assert ids[-1] + 1 + lost == 15_000


@pytest.mark.parametrize(
    ("settlement", "expected"),
    [
        (Ended(1, 1, "succeeded"), "succeeded"),
        (Ended(1, 1, "cancelled", error="by request"), "cancelled: by request"),
        (Ended(1, 1, "dead"), "dead: no reason given"),
        (Again(1, 1, failed=True, delay_seconds=30.4, error="x"), "failed, again in 30 s: x"),
        (Again(1, 1, delay_seconds=5), "back in the queue, again in 5 s"),
        (Parent(1, 1, [{}, {}]), "succeeded and waits for 2 children"),
    ],
)
def test_an_outcome_is_said_in_words(settlement, expected):
    assert describe(settlement) == expected


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1000), (0.1, 100), (0.25, 250), (0.0, 0)])
def test_of_successes_a_share_is_written_and_slow_and_failed_ones_all(run_worker, share, expected):
    lines = run_worker(f"""
log_to_stderr()
jobs = FinishedJobs(LogsSettings(sample_successes={share}, slow_seconds=1.0))
for number in range(1000):
    jobs.add(job(number), Ended(number, 1, "succeeded"), 0.01)
jobs.add(job(2000), Ended(2000, 1, "succeeded"), 1.0)
jobs.add(job(2001), Ended(2001, 1, "dead"), 0.01)
while jobs:
    jobs.write()
""")
    written = [line.job for line in lines]
    assert len([job for job in written if job < 1000]) == expected
    assert {2000, 2001} <= set(written)


def test_the_command_shows_exactly_the_lines_of_a_job(run_worker, tmp_path):
    run_worker("""
log_to_stderr()
as_job(12, lambda: print("mine")).join()
as_job(13, lambda: print("about job 12")).join()
as_job(12, lambda: logging.info("mine too")).join()
""")
    command = [sys.executable, "-c", "from workerctl.cli import main; main()", "--home", str(tmp_path)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKERCTL_")}
    shown = subprocess.run(
        [*command, "logs", "--job", "12", "--json"],
        env=environ,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert sorted((line["job"], line["kind"], line["text"]) for line in found) == [
        (12, "talk", "INFO root: [job 12 talk] mine too"),
        (12, "talk", "mine"),
    ]
    plain = subprocess.run(
        [*command, "logs", "--job", "12"], env=environ, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert len(plain.stdout.splitlines()) == 2
