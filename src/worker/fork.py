"""The only module that forks: an intermediate forks the child and leaves, so that the supervisor adopts it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ..broker.surroundings import Surroundings
from ..contract import Channel, Exit, WorkerctlError
from ..settings import settings_of_pool
from .identity import Identity
from .journal import take_pipes
from .process import WorkerProcess

ADOPTION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Origin:
    """The process that forks."""

    supervisor_pid: int
    foreign: tuple[int, ...]  # its descriptors that a child must not keep
    intermediates: list[int]  # its own children, which leave at once: to be reaped when there is time


@dataclass(frozen=True, slots=True)
class Wanted:
    """A child that was asked for: the descriptors that are its own, and what it does, which gives its exit code."""

    fds: list[int]
    run: Callable[[], int]


def fork_children(wanted: Sequence[Wanted], origin: Origin) -> Iterator[int]:
    """Fork all of them; yields the pid of one after the other. Raises OSError where there are no more to be had."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as answers:
        try:
            intermediate = os.fork()
            if intermediate == 0:
                _intermediate(wanted, origin, read_end, write_end)
        finally:
            os.close(write_end)
        origin.intermediates.append(intermediate)
        told = b""
        for _ in wanted:
            while b"\n" not in told:
                if not (more := answers.read(4096)):
                    raise OSError(0, "the intermediate process could not fork")
                told += more
            pid, _, told = told.partition(b"\n")
            yield int(pid)


def work(request: dict[str, Any], around: Surroundings) -> int:
    """Be the worker that this request asks for, to its end."""
    me = Identity.from_request(request)
    around = replace(around, settings=settings_of_pool(around.settings, me.pool))
    if me.cores is not None and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # cores that were taken from this process meanwhile
            os.sched_setaffinity(0, me.cores)
    if me.nice:
        os.nice(me.nice)
    descriptor, _, _, *wake = request["fds"]
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        return WorkerProcess(me, around, channel, (wake[0], wake[1]) if wake else None).run()
    except WorkerctlError as error:
        sys.stderr.write(f"{error}\n")
        channel.send({"type": "failed", "exit_code": error.exit_code, "message": str(error)})
        return error.exit_code


def _intermediate(wanted: Sequence[Wanted], origin: Origin, read_end: int, answer: int) -> NoReturn:
    me = os.getpid()
    everybodys = (*origin.foreign, read_end, answer, *(fd for each in wanted for fd in each.fds))
    try:
        for each in wanted:
            pid = os.fork()
            if pid == 0:
                _child(each, (me, origin.supervisor_pid), frozenset(everybodys) - set(each.fds))
            os.write(answer, b"%d\n" % pid)
    finally:
        os._exit(0)


def _child(wanted: Wanted, parents: tuple[int, int], foreign: Iterable[int]) -> NoReturn:
    code: int = Exit.FAILED
    try:
        os.setsid()  # what is left of this session can be killed as one
        _take_descriptors(wanted.fds, foreign)
        _wait_for_adoption(*parents)
        code = wanted.run()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)  # handlers' threads must not hold up the exit


def _take_descriptors(fds: list[int], foreign: Iterable[int]) -> None:
    _, out, err, *_ = fds
    take_pipes(out, err)
    for descriptor in (out, err, *foreign):
        os.close(descriptor)


def _wait_for_adoption(intermediate_pid: int, supervisor_pid: int) -> None:
    """Until the supervisor is the parent, signals and exits would reach the wrong process. Ends where it never will be:
    it was killed meanwhile, and somebody else is the parent.
    """
    deadline = time.monotonic() + ADOPTION_SECONDS
    while (parent_pid := os.getppid()) != supervisor_pid:
        if parent_pid != intermediate_pid or time.monotonic() > deadline:
            os._exit(Exit.FAILED)
        time.sleep(0.0002)
