"""A rolling deploy: what older code does not mind comes at once, what it needs goes when it is gone."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest

from workerctl.agent.finishing import finish_in_background
from workerctl.broker.connection import connect
from workerctl.broker.fleet import KnownKind, Registration, hold_primary, register_worker, release_worker, renew_node
from workerctl.broker.migrate import LOCK, finish_migrations, migrate, newest, pending
from workerctl.broker.overview import nodes, workers
from workerctl.cli.fleet_table import fleet_text
from workerctl.contract import Unusable

Queue = psycopg.Connection[Any]


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """What ships, and four migrations of a later version: two that older code does not mind, two that it does."""
    folder = tmp_path / "migrations"
    with resources.as_file(resources.files("workerctl.broker") / "migrations") as shipped:
        shutil.copytree(shipped, folder)
    (folder / "0900_add.sql").write_text("CREATE TABLE workerctl.added (n integer);")
    (folder / "0901_remove.post.sql").write_text("DROP TABLE workerctl.added;")
    (folder / "0902_more.sql").write_text("CREATE TABLE workerctl.more (n integer);")
    (folder / "0903_less.post.sql").write_text("DROP TABLE workerctl.more;")
    return folder


def register(connection: Queue, name: str, schema: int) -> int:
    registration = Registration(name, "n1", "host", "default", 1, 1, None, [], 30, schema)
    return register_worker(connection, registration, [KnownKind("a", "default", 3, 1)])


def test_an_empty_database_gets_both_phases_at_once(database_url: str, newer: Path) -> None:
    with connect(database_url, application="test") as connection:
        assert migrate(connection, newer)[-4:] == ["0900_add", "0901_remove", "0902_more", "0903_less"]
        assert pending(connection, newer) == []


def test_pre_comes_at_once_and_post_when_no_older_worker_and_node_lives(queue: Queue, newer: Path) -> None:
    register(queue, "old", newest())
    register(queue, "new", 903)
    assert migrate(queue, newer) == ["0900_add", "0902_more"]
    assert [migration.name for migration in pending(queue, newer)] == ["0901_remove", "0903_less"]
    assert finish_migrations(queue, newer) == [], "an older worker lives"
    release_worker(queue, "old", died=False)
    renew_node(queue, node_id="n9", host="h", version="0.0.1", cores=1, lease_seconds=30)
    assert finish_migrations(queue, newer) == [], "an older node lives"
    queue.execute("UPDATE workerctl.node SET lease_until = now() - interval '1 s'")
    assert finish_migrations(queue, newer) == ["0901_remove", "0903_less"]
    assert finish_migrations(queue, newer) == []


def test_only_what_the_oldest_keeps_waiting_waits(queue: Queue, newer: Path) -> None:
    register(queue, "between", 901)
    migrate(queue, newer)
    assert finish_migrations(queue, newer) == ["0901_remove"]


def test_older_code_goes_on_with_a_schema_that_only_grew(queue: Queue, newer: Path) -> None:
    migrate(queue, newer)
    assert migrate(queue) == []
    assert register(queue, "old", newest())


def test_code_that_the_schema_left_behind_is_refused_everywhere(queue: Queue, newer: Path) -> None:
    migrate(queue, newer)
    finish_migrations(queue, newer)
    words = "migration 0903_less"
    with pytest.raises(Unusable, match=words):
        migrate(queue)
    with pytest.raises(Unusable, match=f"{words}, which this version of workerctl .* upgrade workerctl"):
        register(queue, "old", newest())
    with pytest.raises(Unusable, match=words):
        renew_node(queue, node_id="n9", host="h", version="0.0.1", cores=1, lease_seconds=30)
    assert register(queue, "new", 903)


def test_nobody_older_comes_in_while_post_is_applied(queue: Queue, newer: Path, database_url: str) -> None:
    migrate(queue, newer)
    (newer / "0903_less.post.sql").write_text("DROP TABLE workerctl.more; SELECT pg_sleep(0.5);")
    thread = finish_in_background(database_url, newer)
    with connect(database_url, application="test") as watcher:
        while (
            thread.is_alive()
            and not watcher.execute(
                "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.5)%' AND pid <> pg_backend_pid()"
                " AND datname = current_database()"
            ).fetchone()
        ):
            pass
        with pytest.raises(Unusable, match="0903_less"):
            register(watcher, "late", newest())
    thread.join(10)
    assert pending(queue, newer) == []


def test_a_fleet_keeps_its_leases_while_a_migration_takes_long(queue: Queue, database_url: str) -> None:
    me: dict[str, Any] = {"host": "h", "version": "0.0.1", "cores": 1, "lease_seconds": 30}
    renew_node(queue, node_id="in", **me)
    with connect(database_url, application="test") as slow:
        slow.execute(f"BEGIN; SELECT pg_advisory_xact_lock({LOCK})".encode())
        queue.execute("SET lock_timeout = '200ms'")
        renew_node(queue, node_id="in", **me)
        assert hold_primary(queue, agent="in/1", node_id="in", lease_seconds=6)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            renew_node(queue, node_id="new", **me)
        queue.execute("UPDATE workerctl.node SET lease_until = now() - interval '1 s'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            renew_node(queue, node_id="in", **me)
        slow.execute("ROLLBACK")
    renew_node(queue, node_id="in", **me)


def test_two_primaries_that_finish_at_once_do_it_once(queue: Queue, newer: Path, database_url: str) -> None:
    migrate(queue, newer)
    threads = [finish_in_background(database_url, newer) for _ in range(3)]
    for thread in threads:
        thread.join(10)
    rows = queue.execute("SELECT count(*) FROM workerctl.migration WHERE phase = 'post'").fetchone()
    assert rows == (2,)


def test_a_failure_of_post_is_said_and_costs_nothing(
    queue: Queue, newer: Path, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    migrate(queue, newer)
    (newer / "0901_remove.post.sql").write_text("DROP TABLE workerctl.nothing;")
    finish_in_background(database_url, newer).join(10)
    assert 'post migrations: table "nothing" does not exist' in capfd.readouterr().err
    assert len(pending(queue, newer)) == 2


def test_the_fleet_is_shown_with_versions_and_renewals(queue: Queue) -> None:
    for version in ("1.0", "1.1"):
        renew_node(queue, node_id=f"node-{version}", host="h", version=version, cores=2, lease_seconds=30)
    register(queue, "w", newest())
    text = fleet_text(nodes(queue), workers(queue))
    assert text.startswith("2 of 2 nodes alive, 1 workers; versions differ: 1.0, 1.1")
    assert "default/1" in text
    [first, _] = nodes(queue)
    assert (first["version"], first["schema"]) == ("1.0", newest())
    assert 0 <= first["renewed_seconds_ago"] < 30
