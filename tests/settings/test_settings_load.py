from __future__ import annotations

import os
import subprocess
import sys

import pytest
from settings_loaded import loaded, refusal

from workerctl.contract import Unusable
from workerctl.settings import Settings, dump, restore
from workerctl.settings.memory import machine_memory_bytes


def test_nothing_given_is_the_defaults(tmp_path):
    found = loaded(tmp_path)
    assert (found.config_path, found.home, found.warnings) == (None, tmp_path / ".workerctl", [])
    assert set(found.origins.values()) == {"default"}
    assert found.settings.jobs.path == (str(tmp_path),)
    assert found.settings.supervisor == Settings().supervisor


def test_the_environment_wins_over_the_file_and_origins_say_so(tmp_path):
    text = "connection_limit = 30\n[supervisor]\ninstances = 2\nstop_timeout = '1m'\n"
    found = loaded(tmp_path, text, WORKERCTL_SUPERVISOR__INSTANCES="max", MAX_CONCURRENT_JOBS="5")
    assert found.settings.supervisor.instances == "max"
    assert found.settings.supervisor.stop_timeout_seconds == 60
    assert found.settings.jobs.concurrency == 5
    assert found.settings.connection_limit == 30
    assert found.origins["supervisor.instances"] == "environment WORKERCTL_SUPERVISOR__INSTANCES"
    assert found.origins["jobs.concurrency"] == "environment MAX_CONCURRENT_JOBS"
    assert found.origins["supervisor.stop_timeout"] == "file"
    assert found.origins["supervisor.boot_timeout"] == "default"


def test_of_a_table_of_names_the_origin_says_file_and_every_variable_that_gave_an_entry(tmp_path):
    environ = {"MAX_DS_CHAT_PAID": "8", "QUEUE_MAX_FREE": "9", "QUEUE_MAX_PAID": "7"}
    found = loaded(tmp_path, "[limits]\nimage = 15\n", **environ)
    assert found.origins["limits"] == "file, environment MAX_DS_CHAT_PAID"
    assert found.origins["admission"] == "environment QUEUE_MAX_FREE, environment QUEUE_MAX_PAID"
    assert found.origins["rates"] == "default"
    whole = loaded(tmp_path, "[limits]\nimage = 15\n", MAX_IMAGE_PAID="2", WORKERCTL_LIMITS='{"image": 3}')
    assert (whole.settings.limits, whole.origins["limits"]) == ({"image": 3}, "environment WORKERCTL_LIMITS")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("JOBS__MODULES", "a.jobs, b.jobs", ("a.jobs", "b.jobs")),
        ("JOBS__MODULES", '["a.jobs"]', ("a.jobs",)),
        ("JOBS__TIMEOUT_SECONDS", None, None),
        ("JOBS__TIMEOUT", "45", 45.0),
        ("JOBS__TIMEOUT", "1.5", 1.5),
        ("JOBS__TIMEOUT", "2m", 120.0),
        ("JOBS__SHIPPED", "false", False),
        ("JOBS__SHIPPED", "1", True),
        ("JOBS__MAX_ATTEMPTS", "7", 7),
    ],
)
def test_environment_texts_mean_what_toml_would(tmp_path, name, text, expected):
    if text is None:
        assert "did you mean WORKERCTL_JOBS__TIMEOUT" in refusal(tmp_path, **{f"WORKERCTL_{name}": "1"})
        return
    jobs = loaded(tmp_path, **{f"WORKERCTL_{name}": text}).settings.jobs
    field = name.removeprefix("JOBS__").lower()
    assert getattr(jobs, "timeout_seconds" if field == "timeout" else field) == expected


def test_empty_variables_and_empty_texts_say_nothing(tmp_path):
    found = loaded(
        tmp_path, 'database_url = ""\npostgres_bin = ""\n[storage]\nurl = ""\n', DATABASE_URL="", DIRECT_URL=" "
    )
    assert found.settings.database_url is None
    assert found.settings.postgres_bin is None
    assert found.settings.storage.url == "file:"


@pytest.mark.parametrize(
    ("value", "seconds", "warned"), [("5000", 5, True), ("1000", 1000, False), ("30", 30, False), ("5s", 5, False)]
)
def test_a_bare_poll_interval_over_1000_is_milliseconds_and_said(tmp_path, value, seconds, warned):
    found = loaded(tmp_path, POLL_INTERVAL=value, ERROR_RETRY_DELAY=value)
    assert found.settings.jobs.poll_interval_seconds == found.settings.jobs.retry_delay_seconds == seconds
    assert len(found.warnings) == (2 if warned else 0)
    if warned:
        assert found.warnings[0] == 'POLL_INTERVAL=5000 is over 1000 and was read as milliseconds; write "5s"'


def test_a_share_of_the_memory_is_of_what_this_machine_has(tmp_path):
    found = loaded(tmp_path, "[supervisor]\nmax_memory = '50%'\n")
    assert found.settings.supervisor.max_memory_bytes == machine_memory_bytes() // 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[supervisor]\ninstnaces = 4", "supervisor.instnaces = 4: unknown key; did you mean supervisor.instances?"),
        ("instances = 4", "instances = 4: unknown key; did you mean supervisor.instances?"),
        ("[supervisr]\ninstances = 4", "supervisr = {...}: unknown key; did you mean supervisor?"),
        ("[apps.web]\ncomand = 'x'", "unknown key; did you mean apps.web.command?"),
        ("[apps.web]\nenv = {}", "apps.web.command is missing"),
        ("[supervisor]\nmax_memory_hard = '1MB'", 'supervisor.max_memory_hard = "1MB": is below max_memory (500MB)'),
        ("[apps.web]\ncommand = 'x \"'", "No closing quotation: expected a command line"),
        ("[apps.web]\ncommand = []", "expected a command line, or a list of its words"),
        ("[apps.web]\ncommand = 'x'\nready = 'soon'", 'expected "started", "notify", {port = 8000}'),
        ("[apps.web]\ncommand = 'x'\nready = {port = 0}", "expected {port = 8000}"),
        ("[apps.web]\ncommand = 'x'\nafter = ['nope']", "there is no nope"),
        ("[apps.a]\ncommand = 'x'\nafter = ['b']\n[apps.b]\ncommand = 'x'\nafter = ['a']", "goes round in a circle"),
        ("[apps.agent]\ncommand = 'x'", "[apps.agent]: the name belongs to a process of workerctl"),
        ("[apps.Default]\ncommand = 'x'", "the default pool"),
        ("[pools.a]\nqueues = ['q']\n[apps.A]\ncommand = 'x'", "[apps.A]: the name differs from [pools.a] in small"),
        ("[supervisor]\nmax_memory_hart = '1GB'",
         'supervisor.max_memory_hart = "1GB": unknown key; did you mean supervisor.max_memory_hard?'),
        ("[pools.a]\nqueues = ['q']\ninstance = 1",
         "pools.a.instance = 1: unknown key; did you mean pools.a.instances?"),
        ("[pools.a]\nqueues = ['q']\nmax_attempts = 5",
         "pools.a.max_attempts = 5: goes with the kind, whatever pool runs it: @job(..., max_attempts=...), or for all "
         "kinds set it in [jobs]"),
        ("[pools.a]\nqueues = ['q']\nlease = '1m'", 'pools.a.lease = "1m": is one for all pools: set it in [jobs]'),
        ("[pools.a]\nqueues = ['q']\nreserved_cores = 1",
         "pools.a.reserved_cores = 1: is one for all pools: set it in [supervisor]"),
        ("[pools.a]\nqueues = ['q']\nmodules = 'x'", 'pools.a.modules = "x": expected a list of module names'),
        ("database_pooled = true", "database_pooled = true: unknown key"),
        ("supervisor = 4", "supervisor = 4: expected a table"),
        ("[pools]\na = 4", "pools.a = 4: expected a table"),
        ("[supervisor]\ninstances = -1",
         'supervisor.instances = -1: expected "auto", "max" or a whole number from 0 to 512'),
        ("[supervisor]\ninstances = 'many'", 'supervisor.instances = "many": expected "auto", "max" or'),
        ("[supervisor]\ninstances = 2.5", "supervisor.instances = 2.5: expected"),
        ("[supervisor]\ninstances = true", "supervisor.instances = true: expected"),
        ("[supervisor]\nstop_timeout = '10 parsecs'",
         "supervisor.stop_timeout = \"10 parsecs\": unknown duration unit 'parsecs'; expected a duration such as"),
        ("[supervisor]\nstop_timeout = -1", "supervisor.stop_timeout = -1: expected a duration"),
        ("[supervisor]\nmax_memory = '5 bananas'", "unknown size unit 'bananas'; expected a size"),
        ("[supervisor]\nmax_memory = 0", "supervisor.max_memory = 0: expected a size"),
        ("[jobs]\nmodules = 'myapp.jobs'", 'jobs.modules = "myapp.jobs": expected a list of module names'),
        ("[jobs]\nmodules = [1]", "jobs.modules = [1]: expected a list of module names"),
        ("[jobs]\nshipped = 'yes'", 'jobs.shipped = "yes": expected true or false'),
        ("[jobs]\nconcurrency = 0", "jobs.concurrency = 0: expected a whole number from 1"),
        ("[jobs]\nlease = '10s'", 'jobs.lease = "10s": must be longer than 15s, after which a worker is judged hung'),
        ("[jobs]\nlease = 2026-01-01", 'jobs.lease = "2026-01-01": not a duration'),
        ("[logs]\nmax_size = '80%'", "logs.max_size = \"80%\": unknown size unit '%'"),
        ("[pools.a]\ninstances = 1",
         "pools.a.queues is missing: queues that this pool serves; expected a list of queue names"),
        ("[pools.a]\nqueues = []", "pools.a.queues = []: expected at least one queue name"),
        ("[pools.agent]\nqueues = ['q']", "[pools.agent]: the name belongs to a process of workerctl"),
        ("[pools.default]\nqueues = ['q']",
         "[pools.default]: the default pool's keys stand in [supervisor] and [jobs]"),
        ("[pools.a]\nqueues = ['q']\n[pools.A]\nqueues = ['r']",
         "[pools.A]: the name differs from [pools.a] in small"),
        ("[pools.'a/b']\nqueues = ['q']", '[pools."a/b"]: expected a name of letters, digits, _ and -'),
        ("[schedule.x]\ncron = '99 3 * * *'\nkind = 'k'", 'schedule.x.cron = "99 3 * * *": Bad minute'),
        ("[schedule.x]\ncron = '0 0 30 2 *'\nkind = 'k'", 'schedule.x.cron = "0 0 30 2 *":'),
        ("[schedule.x]\ncron = '0 3 * * *'", "schedule.x.kind is missing"),
        ("[schedule.x]\ncron = '0 3 * * *'\nkind = ''",
         'schedule.x.kind = "": expected a kind of job, of 1 to 200 characters'),
        ("[schedule.x]\ncron = '0 3 * * *'\nkind = 'k'\ntimezone = 'Asia/Shangai'",
         'schedule.x.timezone = "Asia/Shangai": unknown time zone; did you mean Asia/Shanghai?'),
        ("[schedule.x]\ncron = '0 3 * * *'\nkind = 'k'\ntimezone = '/etc/passwd'", "unknown time zone"),
        ("[schedule.x]\ncron = '@daily'\nkind = 'k'\ntimezone = 'Asia/Bejing'",
         'schedule.x.timezone = "Asia/Bejing": unknown time zone; expected one such as Asia/Shanghai'),
        ("[schedule.x]\ncron = '0 3 * * *'\nkind = 'k'\npayload = {a = [{b = \"x\\u0000\"}]}",
         "schedule.x.payload = {...}: holds the character NUL"),
        ("[schedule.x]\ncron = '0 3 * * *'\nkind = 'k'\npayload = {a = nan}", "holds NaN or an infinity"),
        (f"[schedule.x]\ncron = '0 3 * * *'\nkind = 'k'\npayload = {{a = '{'x' * 2**20}'}}", "is over 1 MiB"),
        ("[storage]\nurl = 'ftp://x'", 'storage.url = "ftp://x": neither a folder nor a bucket; expected "file:"'),
        ("[storage]\nurl = 's3://'", 'storage.url = "s3://": no bucket named'),
        ("[storage]\nurl = 7", "storage.url = 7: expected"),
        ("[supervisor\n", "not TOML: "),
        ('[pools.日志]\nqueues = ["a"]', 'a name beyond plain letters needs quotes: "日志"'),
        ('[apps.web服务]\ncommand = "a"', 'a name beyond plain letters needs quotes: "web服务"'),
        ('[limits]\n用户 = 4', 'a name beyond plain letters needs quotes: "用户"'),
        ("a = 1\nb = ", "at line 2, column 5"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_file_key_value_and_what_would_be_right(tmp_path, text, message):
    assert message in (refused := refusal(tmp_path, text))
    assert refused.startswith("workerctl.toml: ")


def test_the_environment_is_named_where_it_is_wrong(tmp_path):
    assert refusal(tmp_path, WORKERCTL_SUPERVISOR__INSTANCES="-3").startswith(
        "environment WORKERCTL_SUPERVISOR__INSTANCES: supervisor.instances = -3: expected"
    )
    assert refusal(tmp_path, MAX_CONCURRENT_JOBS="lots").startswith(
        'environment MAX_CONCURRENT_JOBS: jobs.concurrency = "lots"'
    )
    assert "did you mean WORKERCTL_SUPERVISOR__INSTANCES" in refusal(tmp_path, WORKERCTL_SUPERVISOR__INSTNACES="1")
    assert "no such key" in refusal(tmp_path, WORKERCTL_POOLS__A="1")


def test_an_unknown_name_of_ours_in_the_environment_is_a_warning(tmp_path):
    found = loaded(tmp_path, WORKERCTL_NOTHING="x", WORKERCTL_NODE="y", WORKERCTL_SETTINGS="z")
    assert found.warnings == ["environment WORKERCTL_NOTHING is no key of ours and was ignored"]


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "workerctl.toml").write_bytes(b"a = '\xff'")
    assert refusal(tmp_path) == "workerctl.toml: not UTF-8 at byte 5"


def test_a_byte_order_mark_is_no_key(tmp_path):
    (tmp_path / "workerctl.toml").write_bytes("\ufeffconnection_limit = 9\n".encode())
    assert loaded(tmp_path).settings.connection_limit == 9


def test_chinese_names_and_payloads_are_everyday(tmp_path):
    text = """
        [pools."内容"]
        queues = ["小说"]
        [schedule."夜间"]
        cron = "0 3 * * *"
        kind = "报告"
        payload = {"书" = "三国"}
        """
    settings = loaded(tmp_path, text).settings
    assert settings.pools["内容"].queues == ("小说",)
    assert settings.schedule["夜间"].payload == {"书": "三国"}


def test_what_is_written_for_the_children_reads_back_the_same_and_nobody_else_can(tmp_path):
    text = """
        [jobs]
        modules = ["a"]
        [pools.content]
        queues = ["q"]
        [schedule.n]
        cron = "0 3 * * *"
        kind = "k"
        payload = {a = [1, 2.5, "x"]}
        """
    settings = loaded(tmp_path, text, DATABASE_URL="postgresql://u:geheim@h/db").settings
    path = tmp_path / "settings.json"
    for _ in range(2):
        dump(settings, path)
        assert restore(path) == settings
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["settings.json", "workerctl.toml"]


def test_settings_of_another_version_or_none_are_refused(tmp_path):
    path = tmp_path / "settings.json"
    with pytest.raises(Unusable, match="workerctl start"):
        restore(path)
    path.write_text('{"connection_limit": "geheim"}')
    with pytest.raises(Unusable, match="start again") as caught:
        restore(path)
    assert "geheim" not in str(caught.value)


def test_importing_the_settings_stays_cheap():
    program = "import sys, workerctl.settings; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    loaded_modules = set(shown.stdout.split())
    assert not loaded_modules & {"tomllib", "zoneinfo", "cronsim", "difflib", "tempfile", "asyncio"}
