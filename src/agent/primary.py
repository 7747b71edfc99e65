"""The primary's work: scheduled tasks once per due time, partitions and retention. Only under the fleet's lease."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg

from ..broker.connection import SLOW, is_away, statement
from ..broker.fleet import bring_back_schedule, database_now, hold_primary, is_dealt_with, make_tick, set_schedules
from ..broker.jobs import sweep_on
from ..broker.limits import configure_limits, tidy_limits
from ..broker.migrate import has_post
from ..settings import ScheduleSettings, Settings
from ..settings.pools import pool_serving
from ..settings.units import rate
from .finishing import finish_in_background
from .schedule import Task, due_times, next_due

LEASE_SECONDS = 6.0  # another machine takes over within this, and its next look 2 s later, of a machine's end
UPKEEP_SECONDS = 3600.0
UPKEEP_AGAIN_SECONDS = 5.0  # while there is more to remove: a bounded piece at a time, under the statement timeout
TIDY_SECONDS = 5.0  # how long a job may wait beside a free seat after an accident
SWEEP_JOBS = 1000  # of a batch whose cancel or retry was left half done: 25 ms, in which the agent does nothing else
PARTITION_DAYS = 3
ORPHANS = ScheduleSettings(cron="0 4 * * 0", kind="storage.orphans")  # counts them; [schedule.orphans] replaces it
NOTE_SECONDS = 10.0  # how often the look at leases is noted
FINISH_SECONDS = 30.0  # how often it is looked whether older versions are gone


class Primary:
    """One candidate for the lease. `term` is set while it is ours."""

    def __init__(self, settings: Settings, agent: str, node_id: str) -> None:
        self._agent = agent
        self._node_id = node_id
        retention = settings.jobs.retention_seconds
        longest = max((budget.period_seconds for budget in settings.budgets.values()), default=0.0)
        self._keep = {
            "keep": dt.timedelta(seconds=retention),
            "keep_spend": dt.timedelta(seconds=max(retention, longest)),
        }
        self._schedule = ({"orphans": ORPHANS} if _knows_orphans(settings) else {}) | settings.schedule
        self._tasks = {name: Task(name, task.cron, task.timezone, task.missed) for name, task in self._schedule.items()}
        self._last_due: dict[str, dt.datetime] = {}
        self._settings = settings
        self._rates = {name: rate(text) for name, text in settings.rates.items()}
        self._post_migrations = has_post()
        self._url_direct = settings.database_url_direct or settings.database_url or ""
        self._finishing: threading.Thread | None = None
        self._upkeep_at = self._tidy_at = self._finish_at = self._note_at = self._sweep_at = 0.0
        self._tidied_to = ""  # the key at which the next look for free seats begins
        self._swept = 0  # jobs of a cancel or retry that somebody left behind
        self._configured = False
        self._begun = False  # the term, on a server that still has what was written in it
        self._refused: dict[str, str] = {}  # duties that the database refuses -> why, as it was said
        self._until = 0.0  # monotonic; the lease is ours before that, whatever became of the database
        self.term: int | None = None

    def renew(self, connection: psycopg.Connection[Any]) -> bool:
        """Take or keep the lease; returns whether that changed. A new term is ours once its first duties are done."""
        until = time.monotonic() + LEASE_SECONDS
        term = hold_primary(connection, agent=self._agent, node_id=self._node_id, lease_seconds=LEASE_SECONDS)
        if term is not None and (term != self.term or not self._begun):
            self._last_due = self._known_schedules(connection)
            self._configured = False
            self._configure(connection)
            self._begun = True
        before, self.term, self._until = self.term, term, until
        return (before is None) != (self.term is None)

    def doubt(self) -> None:
        """The connection is lost, and in a failover what was written last: the next renewal begins the term anew."""
        self._begun = False

    def lapse(self, now: float) -> bool:
        """Whether the lease ends now, because nobody could be asked to renew it: another's may have begun."""
        if self.term is None or now < self._until:
            return False
        self.term = None
        return True

    def step_down(self, connection: psycopg.Connection[Any]) -> None:
        """Leave the lease, so that another machine need not wait for its end."""
        if self.term is not None:
            connection.execute(statement("leave_primary"), {"agent": self._agent})
            self.term = None

    def work(self, connection: psycopg.Connection[Any], now: float) -> bool:
        """Make the ticks that are due, by the database's clock; every hour the upkeep. `now` is monotonic.

        Returns whether there is more to do at once.
        """
        if self.term is None:
            return False
        if self._tasks:
            self._make_due_ticks(connection, database_now(connection))
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_SECONDS
            if not self._configured:
                self._configure(connection)
            with self._duty(connection, "limits", TIDY_SECONDS):
                self._tidied_to = tidy_limits(connection, self._tidied_to)
            with self._duty(connection, "statistics", TIDY_SECONDS):
                connection.execute(statement("tidy_stats"))
            with self._duty(connection, "spend", TIDY_SECONDS):
                connection.execute(statement("sum_spend"))
        if self._post_migrations and now >= self._finish_at:
            self._finish_at = now + FINISH_SECONDS
            if self._finishing is None or not self._finishing.is_alive():
                self._finishing = finish_in_background(self._url_direct)
        if now >= self._upkeep_at:
            self._keep_up(connection, now)
        return now >= self._sweep_at and self._sweep(connection, now)

    def note_leases(
        self, connection: psycopg.Connection[Any], every_seconds: float, seconds: float, now: float
    ) -> None:
        """This agent has looked for workers whose lease is over, as every node's does; the primary's is shown."""
        if self.term is not None and now >= self._note_at:
            self._note_at = now + NOTE_SECONDS
            connection.execute(statement("note_duty"), {"name": "leases", "every": every_seconds, "seconds": seconds})

    def _sweep(self, connection: psycopg.Connection[Any], now: float) -> bool:
        """Go on with what somebody asked for who is gone; returns whether there is more of it."""
        self._sweep_at = now + TIDY_SECONDS
        with self._by_itself("cancel and retry"):
            jobs, more = sweep_on(connection, None, SWEEP_JOBS)
            self._swept += jobs
            if more:
                self._sweep_at = now
                return True
            if self._swept:
                sys.stdout.write(f"went on with a cancel or retry that was left behind: {self._swept} jobs\n")
                sys.stdout.flush()
                self._swept = 0
        return False

    def _keep_up(self, connection: psycopg.Connection[Any], now: float) -> None:
        self._upkeep_at = now + UPKEEP_SECONDS
        with self._duty(connection, "partitions", UPKEEP_SECONDS):
            connection.execute(statement("make_partitions"), {"days": PARTITION_DAYS})
            connection.execute(statement("drop_days"), self._keep)
        with self._duty(connection, "retention", UPKEEP_SECONDS):
            row = connection.execute(statement("drop_old"), self._keep).fetchone()
            if row is not None and row[0] > 0:
                self._upkeep_at = now + UPKEEP_AGAIN_SECONDS

    @contextlib.contextmanager
    def _duty(self, connection: psycopg.Connection[Any], name: str, every_seconds: float) -> Iterator[None]:
        """Note that it was done, and how long it took; what fails is not noted."""
        began = time.monotonic()
        with self._by_itself(name):
            yield
            values = {"name": name, "every": every_seconds, "seconds": time.monotonic() - began}
            connection.execute(statement("note_duty"), values)

    @contextlib.contextmanager
    def _by_itself(self, name: str) -> Iterator[None]:
        """What the database refuses, or does not get done in time, is said once and holds up nothing else."""
        try:
            yield
        except psycopg.Error as error:
            if is_away(error) and error.sqlstate not in SLOW:
                raise
            words = str(error).strip().splitlines()[0]
            if self._refused.get(name) != words:
                sys.stderr.write(f"{name}: {words}\n")
                sys.stderr.flush()
            self._refused[name] = words
        else:
            self._refused.pop(name, None)

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        with self._by_itself("limits of the config"):
            configure_limits(connection, self._settings.limits, self._rates, self._settings.admission)
            self._configured = True

    def _known_schedules(self, connection: psycopg.Connection[Any]) -> dict[str, dt.datetime]:
        rows = [
            {"name": name, "cron": task.cron, "timezone": task.timezone, "kind": task.kind, "payload": task.payload}
            for name, task in self._schedule.items()
        ]
        return set_schedules(connection, rows)

    def _make_due_ticks(self, connection: psycopg.Connection[Any], clock: dt.datetime) -> None:
        assert self.term is not None
        for name, task in self._tasks.items():
            with self._by_itself(f"schedule {name}"):
                if self._last_due[name] > next_due(task, clock):  # the clock was ahead; ticks tell what was made then
                    bring_back_schedule(connection, term=self.term, name=name, at=clock)
                    self._last_due[name] = clock
                for due_at in due_times(task, self._last_due[name], clock):
                    wanted = self._schedule[name]
                    job_id = make_tick(
                        connection, term=self.term, name=name, due_at=due_at, kind=wanted.kind, payload=wanted.payload
                    )
                    if job_id is None and not is_dealt_with(connection, name, due_at):
                        return  # the lease is over: whoever holds it next makes this one
                    self._last_due[name] = due_at
                    if job_id is not None:
                        sys.stdout.write(f"schedule {name}: job {job_id} for {due_at.isoformat()}\n")
                        sys.stdout.flush()


def _knows_orphans(settings: Settings) -> bool:
    """Whether the workers that would be handed the shipped task know its kind."""
    return settings.pools[pool_serving(settings, "default")].shipped
