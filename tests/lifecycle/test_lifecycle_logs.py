"""What is written down: logs by worker, stream and job, and what `show` and `why` read when nothing runs."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from queue import Queue

from lifecycle_house import House, until


def say(house: House, words: str) -> int:
    """A job that printed `words` to both streams, once the collector has written it down."""
    job = house.enqueue("talk", words=words)
    house.until_status(job, "succeeded")
    until(lambda: f"logged {words}" in house.ok("logs", "-n", 200), 5, what="the lines are written")
    return job


def texts(output: str) -> list[str]:
    return [json.loads(line)["text"] for line in output.splitlines()]


def test_streams_are_apart_and_merged_without_a_choice(running: House) -> None:
    say(running, "apple")
    out = texts(running.ok("logs", "--out", "--json", "--grep", "apple"))
    err = texts(running.ok("logs", "--err", "--json", "--grep", "apple"))
    assert out == ["out apple"]
    assert err[0] == "err apple"
    assert err[1].endswith("logged apple")
    assert len(texts(running.ok("logs", "--json", "--grep", "apple"))) == 3


def test_lines_of_one_job_are_found_by_its_id(running: House) -> None:
    job = say(running, "pear")
    say(running, "plum")
    lines = texts(running.ok("logs", "--job", job, "--json"))
    assert any(f"[job {job} talk] logged pear" in line for line in lines)
    assert not any("plum" in line for line in lines)


def test_the_last_lines_and_the_young_lines_can_be_asked_for(running: House) -> None:
    for number in range(5):
        say(running, f"line-{number}")
    assert len(running.ok("logs", "--out", "-n", 2).splitlines()) == 2
    assert running.ok("logs", "--out", "--json", "-n", 0) == ""
    assert texts(running.ok("logs", "default", "--out", "--json", "-n", 1)) == ["out line-4"]
    assert running.ok("logs", "--since", "1ms", "--out", "--grep", "line-") == ""
    assert len(running.ok("logs", "--since", "10m", "--out", "--grep", "line-").splitlines()) == 5


def test_what_is_asked_for_by_time_or_job_comes_whole(running: House) -> None:
    job = running.enqueue("talks.much", lines=80)
    running.until_status(job, "succeeded")
    until(lambda: running.ok("logs", "--out", "--grep", "much 79 "))
    assert len(running.ok("logs", "--out", "--since", "10m", "--grep", "much").splitlines()) == 80
    assert len(running.ok("logs", "--out", "--job", job).splitlines()) == 80
    assert len(running.ok("logs", "--out", "--job", job, "-n", 7).splitlines()) == 7
    assert len(running.ok("logs", "--out", "--grep", "much").splitlines()) == 50


def test_each_worker_has_files_of_its_own(running: House) -> None:
    say(running, "cherry")
    [line] = running.ok("logs", "--out", "--json", "--grep", "out cherry").splitlines()
    slot = json.loads(line)["slot"]
    other = {1: 2, 2: 1}[slot]
    assert running.ok("logs", f"default/{slot}", "--grep", "out cherry")
    assert not running.ok("logs", f"default/{other}", "--grep", "out cherry")
    assert "cherry" in (running.home / "logs" / f"default-{slot}.out.log").read_text()


def test_wrong_questions_are_wrong_usage(running: House) -> None:
    assert "--grep" in running.fails(2, "logs", "--grep", "(")
    assert "--since" in running.fails(2, "logs", "--since", "long")
    for command in ("why", "logs", "show", "flush"):
        assert "expected NAME or NAME/SLOT" in running.fails(2, command, "default/first")
    assert "nobody" in running.fails(1, "show", "nobody")
    assert "default has no slot 9; there are: 1, 2" in running.fails(1, "show", "default/9")


def test_logs_of_somebody_who_has_none_are_said_to_be_none(running: House) -> None:
    asked = running.run("logs", "agent")
    assert (asked.returncode, asked.stdout) == (0, "")
    assert "no logs of agent; there are of " in asked.stderr and "default" in asked.stderr
    assert "no logs of nobody; there are of " in running.fails(1, "logs", "nobody")


def test_following_shows_lines_as_they_are_written_and_ends_with_ctrl_c(running: House) -> None:
    process = running.launch("logs", "-f", "--out", "-n", "0", "--grep", "melon")
    lines = lines_of(process)
    until(lambda: _says_melon(running, lines), 20, what="the line is followed")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0


def lines_of(process: subprocess.Popen[str]) -> Queue[str]:
    """What the process prints, as it comes."""
    lines: Queue[str] = Queue()
    output = process.stdout
    assert output is not None
    threading.Thread(target=lambda: [lines.put(line) for line in output], daemon=True).start()
    return lines


def _says_melon(house: House, lines: Queue[str]) -> bool:
    say(house, "melon")
    return not lines.empty() and "out melon" in lines.get()


def test_following_waits_where_nothing_was_ever_started(fresh_house: House) -> None:
    process = fresh_house.launch("logs", "-f")
    lines = lines_of(process)
    fresh_house.start(1)
    until(lambda: not lines.empty() and "Booted" in lines.get(), 5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0


def test_after_the_stop_logs_show_and_why_read_what_is_on_disk(house: House) -> None:
    house.start(2)
    say(house, "winter")
    house.ok("stop")
    assert "out winter" in house.ok("logs")
    assert "event Ended exit_code=0" in house.ok("logs", "supervisor")
    shown = house.ok("show", "default/1")
    assert "nothing is running" in shown
    assert "asked" in shown
    assert house.json("why", "default/2")["exits"][0]["cause"] == "asked"
    assert "no end of 'nobody'" in house.fails(1, "why", "nobody")


def test_why_has_the_last_twenty_lines_of_who_ended(house: House) -> None:
    house.start(1)
    job = house.enqueue("talks.much", lines=80)
    house.until_status(job, "succeeded")
    until(lambda: house.ok("logs", "--out", "--grep", "much 79 "))
    house.ok("restart", "default")
    until(lambda: house.exits())
    last = house.json("why", "default/1")["last_lines"]
    assert len(last) == 20
    assert any("much 79 " in line for line in last)


def test_last_lines_are_those_of_the_process_and_of_none_before_a_restart(house: House) -> None:
    for word in ("quince", "medlar"):
        house.start(1)
        house.until_status(house.enqueue("talk", words=word), "succeeded")
        house.ok("stop")
        told = house.json("why", "default/1")["last_lines"]
        assert f"out {word}" in told
        assert not [line for line in told if "quince" in line and word != "quince"]
    serials = [end["serial"] for end in house.exits()]
    assert len(set(serials)) == 2


def test_flush_empties_the_logs_and_new_lines_still_arrive(house: House) -> None:
    house.start(1)
    say(house, "before")
    house.ok("flush")
    assert "before" not in house.ok("logs")
    assert "command=reopen" in house.log() and "reason=flush" in house.log()
    say(house, "after")
    assert "out after" in house.ok("logs")
    assert oct((house.home / "logs" / "default-1.out.log").stat().st_mode & 0o777) == "0o600"
    house.ok("flush", "default/1")
    assert "out after" not in house.ok("logs") and "event Command" in house.ok("logs")
    assert "no logs of nobody" in house.fails(1, "flush", "nobody")


def test_show_tells_what_a_worker_does(running: House) -> None:
    job = running.gated()
    shown = until(
        lambda: [text for slot in (1, 2) if f"job {job} gated" in (text := running.ok("show", f"default/{slot}"))]
    )
    assert "1 running" in shown[0]
    assert running.json("show", "postgres")["processes"][0]["phase"] == "ready"
