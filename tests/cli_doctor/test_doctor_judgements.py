"""What `doctor` says about facts: each judgement with data, no machine asked."""

import math
from dataclasses import replace

import pytest

from workerctl.cli.compose import check_connections, policy_of
from workerctl.cli.doctor_facts import (
    DatabaseState,
    HomeState,
    Machine,
    Packages,
    PoolPlan,
    ProviderKey,
    Snapshot,
    StorageState,
    Wanted,
    Wrapper,
)
from workerctl.cli.doctor_machine import (
    judge_cores,
    judge_descriptors,
    judge_disk,
    judge_home,
    judge_memory,
    judge_packages,
    judge_swap,
)
from workerctl.cli.doctor_services import (
    judge_clock,
    judge_connections,
    judge_database,
    judge_providers,
    judge_storage,
    judge_wrapper,
)
from workerctl.contract import Unusable
from workerctl.supervisor.composition import Composition, Group, Node

MB = 1024**2
GB = 1024**3
POOL = PoolPlan("default", 4, 8, 500 * MB, 30.0)
WANTED = Wanted((POOL,), reserved_cores=1, connection_limit=20, embedded=False, log_bytes=2 * GB)
MACHINE = Machine(
    affinity_cores=4,
    usable_cores=4,
    memory_bytes=8 * GB,
    usable_memory_bytes=8 * GB,
    swap_bytes=GB,
    swap_used_bytes=0,
    available_bytes=6 * GB,
    descriptors_hard=8192,
)
HOME = HomeState("/srv/app/.workerctl", True, 0o700, 1000, 1000, (), 50 * GB, 0.001)
DATABASE = DatabaseState(
    "db:5432/app",
    embedded=False,
    pooled=False,
    has_direct=False,
    version="18.6",
    version_number=180006,
    ring_seconds=0.002,
    max_connections=97,
    round_trip_seconds=0.001,
)


def levels(findings):
    return [finding.level for finding in findings]


def only(findings):
    [finding] = [finding for finding in findings if finding.level != "ok"]
    return finding


def wanted(**changes):
    return replace(WANTED, pools=(replace(POOL, **changes),))


@pytest.mark.parametrize("judge", [judge_cores, judge_memory, judge_swap, judge_descriptors])
def test_a_roomy_machine_is_fine(judge):
    assert levels(judge(MACHINE, WANTED)) == ["ok"]


def test_a_quota_of_the_control_group_is_named():
    [finding] = judge_cores(replace(MACHINE, usable_cores=2), WANTED)
    assert "a control group allows 2 of 4" in finding.text


def test_reserving_every_core_is_a_warning():
    assert "below 4" in only(judge_cores(MACHINE, replace(WANTED, reserved_cores=4))).advice


def test_limits_over_the_memory_are_a_warning_and_one_worker_over_it_an_error():
    assert only(judge_memory(MACHINE, wanted(max_memory_bytes=3 * GB))).level == "warning"
    finding = only(judge_memory(replace(MACHINE, usable_memory_bytes=400 * MB), WANTED))
    assert (finding.level, "the control group's 400MB" in finding.text) == ("error", True)


def test_no_swap_matters_where_the_limits_fill_the_memory():
    without = replace(MACHINE, swap_bytes=0)
    assert levels(judge_swap(without, WANTED)) == ["ok"]
    assert levels(judge_swap(replace(without, usable_memory_bytes=2 * GB), WANTED)) == ["warning"]


def test_used_swap_matters_where_memory_is_short_too():
    busy = replace(MACHINE, swap_used_bytes=GB)
    assert levels(judge_swap(busy, WANTED)) == ["ok"]
    assert levels(judge_swap(replace(busy, available_bytes=200 * MB), WANTED)) == ["warning"]


def test_descriptors_for_the_number_of_workers_are_counted():
    finding = only(judge_descriptors(replace(MACHINE, descriptors_hard=1024), wanted(instances=512)))
    assert (finding.level, "LimitNOFILE" in finding.advice) == ("error", True)
    assert levels(judge_descriptors(replace(MACHINE, descriptors_hard=None), wanted(instances=512))) == ["ok"]


def test_a_home_that_others_may_read_is_an_error_with_the_command_that_closes_it():
    assert levels(judge_home(HOME)) == ["ok"]
    assert only(judge_home(replace(HOME, mode=0o755))).advice == "chmod 700 /srv/app/.workerctl"
    assert only(judge_home(replace(HOME, open_to_others=("/x/run/database.json",)))).level == "error"
    assert only(judge_home(replace(HOME, owner_uid=0))).level == "warning"
    assert levels(judge_home(replace(HOME, exists=False, mode=0o755))) == ["ok"]


@pytest.mark.parametrize(
    ("free", "level"), [(50 * GB, "ok"), (3 * GB // 2, "warning"), (500 * MB, "warning"), (50 * MB, "error")]
)
def test_little_room_on_the_disk_is_said(free, level):
    assert levels(judge_disk(replace(HOME, free_bytes=free), WANTED)) == [level, "ok"]


def test_a_slow_disk_and_one_that_cannot_be_written_are_said():
    assert levels(judge_disk(replace(HOME, fsync_seconds=0.2), WANTED)) == ["ok", "warning"]
    finding = only(judge_disk(replace(HOME, fsync_seconds=None, problem="read-only"), WANTED))
    assert (finding.level, finding.text) == ("error", "read-only")


def test_missing_packages_matter_only_where_they_are_used():
    bare = Packages(jieba=False, shipped=True, embedded_problem="no wheel")
    assert levels(judge_packages(bare, WANTED)) == ["warning"]
    assert levels(judge_packages(bare, replace(WANTED, embedded=True))) == ["error", "warning"]
    assert levels(judge_packages(replace(bare, shipped=False), WANTED)) == ["ok"]


def test_a_good_database_is_fine_and_an_embedded_one_may_be_off():
    assert set(levels(judge_database(DATABASE))) == {"ok"}
    assert levels(judge_database(replace(DATABASE, running=False, embedded=True))) == ["ok"]


def test_a_database_that_does_not_answer_is_the_only_finding_about_it():
    [finding] = judge_database(replace(DATABASE, problem="database at db:5432/app does not answer: refused"))
    assert finding.level == "error"


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("refuses: sorry, too many clients already", "workerctl scale"),
        ("refuses: remaining connection slots are reserved for roles with the SUPERUSER attribute", "max_connections"),
        ("refuses: the database system is starting up", "wait for the server"),
        ('refuses: password authentication failed for user "u"', "password"),
        ("does not answer: connection timeout expired", "the network"),
        ("does not answer: session is read-only", "the primary server"),
        ("answered: cannot execute LISTEN during recovery", "the primary server"),
    ],
)
def test_a_refusal_of_the_database_comes_with_what_to_do_about_it(reason, advice):
    [finding] = judge_database(replace(DATABASE, problem=f"database at db:5432/app {reason}"))
    assert advice in finding.advice


def test_an_ear_that_hears_nothing_is_an_error_only_where_a_direct_url_was_given():
    deaf = replace(DATABASE, ring_seconds=None, pooled=True)
    assert only(judge_database(deaf)).level == "warning"
    assert "DIRECT_URL" in only(judge_database(deaf)).advice
    assert only(judge_database(replace(deaf, has_direct=True))).level == "error"


def test_an_old_server_a_missing_migration_and_a_foreign_schema_are_said():
    assert only(judge_database(replace(DATABASE, version_number=120000))).level == "error"
    assert "workerctl migrate" in only(judge_database(replace(DATABASE, pending=("0001_tables",)))).advice
    assert only(judge_database(replace(DATABASE, schema_problem="upgrade workerctl"))).level == "error"


def test_the_session_with_the_oldest_snapshot_is_named():
    report = Snapshot(4711, "metabase", "bi", "idle in transaction", 3700.0)
    finding = only(judge_database(replace(DATABASE, oldest=report)))
    assert "pid 4711 (metabase, user bi, idle in transaction) holds one for 1h 1m" in finding.text
    assert finding.advice == "end it: SELECT pg_terminate_backend(4711)"
    assert set(levels(judge_database(replace(DATABASE, oldest=replace(report, seconds=5.0))))) == {"ok"}


@pytest.mark.parametrize("workers", [0, 1, 4, 13, 100])
def test_connections_are_counted_as_start_counts_them(workers):
    needed = policy_of(0, embedded=False).connections(workers)

    def judged(limit):
        pools = (Group("p", "pool", instances=workers),)
        policy = policy_of(limit, embedded=False)
        check_connections(Composition("/h", Node("n", "h", 1), pools, "0", policy=policy), {})

    def doctor(limit):
        return levels(judge_connections(DATABASE, replace(wanted(instances=workers), connection_limit=limit)))[0]

    judged(needed)
    assert doctor(needed) == "ok"
    with pytest.raises(Unusable, match=f" {needed} database connections"):
        judged(needed - 1)
    assert doctor(needed - 1) == "error"


def test_more_connections_than_the_limit_or_than_the_server_has_left_are_errors():
    assert levels(judge_connections(DATABASE, WANTED)) == ["ok", "ok"]
    assert levels(judge_connections(DATABASE, wanted(instances=20))) == ["error", "ok"]
    assert levels(judge_connections(replace(DATABASE, used_connections=90), WANTED)) == ["ok", "error"]
    through_pooler = replace(DATABASE, used_connections=90, pooled=True)
    assert levels(judge_connections(through_pooler, WANTED)) == ["ok", "ok"]


def test_a_clock_apart_is_said_but_not_what_the_network_may_have_cost():
    assert levels(judge_clock(DATABASE)) == ["ok"]
    assert "10.0 s behind" in only(judge_clock(replace(DATABASE, skew_seconds=-10.0))).text
    assert levels(judge_clock(replace(DATABASE, skew_seconds=3.0, round_trip_seconds=4.0))) == ["ok"]


def test_storage_is_fine_slow_or_wrong():
    assert levels(judge_storage(StorageState("s3://b", 0.1))) == ["ok"]
    assert levels(judge_storage(StorageState("s3://b", 5.0))) == ["warning"]
    assert levels(judge_storage(StorageState("s3://b", problem="no such bucket"))) == ["error"]


@pytest.mark.parametrize(
    ("stop_seconds", "level"), [(math.inf, "ok"), (60.0, "ok"), (45.0, "warning"), (30.0, "error"), (1.6, "error")]
)
def test_a_wrapper_that_kills_before_we_have_drained_is_an_error(stop_seconds, level):
    assert levels(judge_wrapper(Wrapper("pm2", "ecosystem.config.js: app", stop_seconds), [30.0, 5.0])) == [level]


def test_the_advice_for_a_wrapper_names_its_own_key_and_a_value_that_is_enough():
    assert only(judge_wrapper(Wrapper("pm2", "x", 1.6), [30.0])).advice == "set kill_timeout to 60000 or more"
    assert only(judge_wrapper(Wrapper("systemd", "x", 10.0), [30.0])).advice == "set TimeoutStopSec to 60 or more"


def test_a_wrapper_that_signals_our_children_or_does_not_wait_is_said():
    wrapper = Wrapper("systemd", "x", 90.0, kills_tree=True, notified=False)
    found = {finding.level: finding.advice for finding in judge_wrapper(wrapper, [30.0])}
    assert found == {"ok": "", "error": "set KillMode=mixed", "warning": "set Type=notify"}


def test_a_provider_without_its_key_is_an_error_that_names_the_variable():
    good, bad = judge_providers([ProviderKey("openai", "OPENAI_API_KEY", True), ProviderKey("fal", "FAL_KEY", False)])
    assert (good.level, bad.level) == ("ok", "error")
    assert "FAL_KEY is not set" in bad.text
