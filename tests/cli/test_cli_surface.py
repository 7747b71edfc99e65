"""The command line without anything running: help, configuration errors, imports, plain output."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from workerctl.cli.app import make_app
from workerctl.cli.job_text import job_text
from workerctl.cli.known_kinds import unknown_job
from workerctl.cli.plain import cut, table, width

WORKERCTL = Path(sys.executable).with_name("workerctl")


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WORKERCTL, *arguments],
        cwd=folder,
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


Call = Callable[..., subprocess.CompletedProcess[str]]


def commands() -> list[list[str]]:
    """Every command as it is typed."""
    import typer

    found = []

    def walk(command: object, words: list[str]) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found.append(words)
            return
        for name, child in children.items():
            walk(child, [*words, name])

    walk(typer.main.get_command(make_app()), [])
    return found


@pytest.mark.parametrize("word", sorted({words[0] for words in commands()}))
def test_a_command_line_is_told_of_its_command_alone(word: str) -> None:
    import typer

    found = typer.main.get_command(make_app(["--home", "start", "--config=x", word, "status"]))
    assert found.commands.keys() == {word}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_help_of_every_command_has_an_example_and_no_colour(call: Call, tmp_path: Path, words: list[str]) -> None:
    done = call(*words, "--help")
    assert done.returncode == 0
    assert "Example: workerctl" in done.stdout
    assert "\x1b" not in done.stdout
    assert not (tmp_path / ".workerctl").exists()


def test_the_help_comes_from_the_program_as_it_is_installed(tmp_path: Path) -> None:
    done = run(tmp_path, "start", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Example: workerctl start" in done.stdout


@pytest.mark.parametrize("words", [[], ["jobs"], ["limits"], ["queue"], ["schedule"], ["config"]], ids=" ".join)
def test_a_list_of_commands_says_each_in_a_whole_sentence(tmp_path: Path, words: list[str]) -> None:
    assert "..." not in run(tmp_path, *words, "--help").stdout.replace("[ARGS]...", "")


def test_a_shell_completes_commands_and_their_options(tmp_path: Path) -> None:
    for typed, place, offered in (("workerctl st", "1", "status"), ("workerctl logs --gr", "2", "--grep")):
        environ = {"_WORKERCTL_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": place}
        assert offered in run(tmp_path, **environ).stdout.split()


INTRUSIVE = """
import os, sys
import msgspec
from workerctl import job
print("hello from the module")
os.chdir("/")
os.environ["DATABASE_URL"] = "postgresql://me@127.0.0.1:1/another"
sys.stdout = None

@job("shop.pay")
def pay(payload: dict) -> None: ...

class Order(msgspec.Struct):
    number: str

@job("shop.order")
def order(payload: Order) -> None: ...
"""


def test_what_a_job_module_does_at_import_is_kept_from_the_commands_that_look_at_it(
    tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "kinds.py").write_text(INTRUSIVE)
    (tmp_path / "workerctl.toml").write_text('[jobs]\nmodules = ["kinds"]\nshipped = false\n')
    assert run(tmp_path, "migrate", DATABASE_URL=database_url).returncode == 0
    done = run(tmp_path, "enqueue", "shop.pay", DATABASE_URL=database_url)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "hello from the module" in done.stderr
    for value, code in (("5", 1), ('"5"', 0)):
        done = run(tmp_path, "enqueue", "shop.order", f"number={value}", DATABASE_URL=database_url)
        assert (done.returncode, "quotes of its own" in done.stderr) == (code, code == 1)
    (tmp_path / "kinds.py").write_text("import sys\nsys.exit(3)")
    checked = run(tmp_path, "config", "check")
    assert (checked.returncode, checked.stdout) == (0, "")
    assert "importing kinds failed: SystemExit: 3" in checked.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--in", "10q"), "unknown duration unit 'q'; expected a duration such as 500ms, 10s"),
        (("--in", "-5m"), "no number in front; expected a duration"),
        (("--at", "tomorrow"), "such as 2026-12-24T18:00"),
        (("--payload", "@missing.json"), "No such file or directory"),
    ],
)
def test_wrong_times_and_files_are_wrong_usage_that_says_what_is_right(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(tmp_path, "enqueue", "x", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert words in done.stderr
    assert "Errno" not in done.stderr


def test_a_job_of_a_kind_that_nobody_has_known_is_noted_with_what_was_meant() -> None:
    told = unknown_job("thumbnail.mak", ["thumbnail.make", "log.write"], [])
    assert told == "no worker has ever known the kind 'thumbnail.mak'; did you mean thumbnail.make?"
    assert "workerctl reload" in (unknown_job("new", ["log.write"], ["new"]) or "")
    assert unknown_job("log.write", ["log.write"], []) is None
    assert unknown_job("first", [], []) is None  # no worker has ever been here


def test_an_output_that_knows_no_chinese_gets_escapes_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text("[limits]\n'生成😀' = 3\n")
    for arguments, expected in (((), "\\u751f\\u6210"), (("--json",), "\\u751f\\u6210\\ud83d\\ude00")):
        done = run(tmp_path, "config", "show", *arguments, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr.count("\n") < 2) == (0, True), done.stderr
        assert expected in done.stdout
    assert json.loads(done.stdout)
    assert "生成😀" in run(tmp_path, "config", "show", PYTHONIOENCODING="utf-8").stdout


def test_a_job_is_shown_with_the_readers_time_and_the_fields_of_its_log() -> None:
    at = dt.datetime(2026, 1, 1, 12, 30, 0, 250000, tzinfo=dt.UTC)
    job = dict.fromkeys(("waits_because", "user_id", "plan", "parent_id", "unique_key", "node", "worker", "run_at",
                         "started_at", "finished_at", "error", "progress", "children_total", "payload", "result",
                         "remembered"))  # fmt: skip
    job |= dict.fromkeys(("kind", "queue", "status", "priority", "attempt", "max_attempts", "failures", "deaths"), "x")
    log = [{"logged_at": at, "level": "info", "message": "resizing", "fields": {"键": "图.png", "size": 3}}]
    text = job_text(job | {"id": 1, "created_at": at}, [], log)
    here = at.astimezone()
    assert f"created_at     {here:%Y-%m-%d %H:%M:%S}.250{here.isoformat()[-6:]}" in text
    assert f'{here:%H:%M:%S} info    resizing  键="图.png"  size=3' in text


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (62, "7  image.make  u1  错误错误错误错误错误错误错误错误错误错误"),
        (40, "7  image.make  u1  错误错误错误错误…"),
        (30, "7  image.make  错误错误错误错…"),
        (10, "7  image.make  错误错误错误错…"),
    ],
)
def test_a_narrow_terminal_cuts_the_words_at_the_end_and_then_leaves_columns_out(
    monkeypatch: pytest.MonkeyPatch, columns: int, expected: str
) -> None:
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((columns, 24)))
    text = table(("id", "kind", "user", "error"), [["7", "image.make", "u1", "错误" * 10]], spare=(2,), cut_last=True)
    assert " ".join(text.splitlines()[1].split()) == " ".join(expected.split())
    assert text.splitlines()[0].split()[0] == "id"


def test_what_users_write_steers_no_terminal() -> None:
    assert table(("user",), [["\x1b[2Jme\tyou\nhe\x9b1m"]]).splitlines()[1] == "\ufffd[2Jme you he\ufffd1m"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[supervisor]\ninstnaces = 4", ("supervisor.instnaces", "supervisor.instances")),
        ("[supervisr]\ninstances = 4", ("supervisr", "supervisor")),
        ('[supervisor]\ninstances = "four"', ("supervisor.instances", '"four"')),
        ("[supervisor]\ninstances = -1", ("supervisor.instances", "-1")),
        ('[supervisor]\nstop_timeout = "5 parsecs"', ("supervisor.stop_timeout", "parsecs")),
        ('[jobs]\nmodules = "kinds"', ("jobs.modules", '"kinds"')),
        ('[jobs]\nmodules = ["kinds.py"]', ("jobs.modules", "kinds.py", "after `import`")),
        ('[jobs]\nmodules = ["src/kinds"]', ("jobs.modules", "src/kinds", "after `import`")),
        ("[jobs]\nconcurrency = 0", ("jobs.concurrency", "0")),
        ('[jobs]\nlease = "10s"', ("jobs.lease",)),
        ('[schedule.x]\ncron = "every day"\nkind = "a"', ("schedule.x.cron", "every day")),
        (
            '[schedule.x]\ncron = "0 3 * * *"\nkind = "a"\ntimezone = "Mars/Olympus"',
            ("schedule.x.timezone", "Mars/Olympus"),
        ),
        ("[pools.agent]\nqueues = ['a']", ("agent",)),
        ("[supervisor\n", ("line 1",)),
        ('database_url = "mysql://user:verysecret@host/db"', ("database_url",)),
    ],
)
@pytest.mark.parametrize("command", ["start", "config check"])
def test_an_unusable_configuration_is_78_and_one_line(
    call: Call, tmp_path: Path, config: str, words: tuple[str, ...], command: str
) -> None:
    (tmp_path / "workerctl.toml").write_text(config)
    done = call(*command.split())
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (78, 1, ""), done.stderr
    assert "workerctl.toml" in done.stderr
    for word in words:
        assert word in done.stderr
    assert "verysecret" not in done.stderr
    assert not (tmp_path / ".workerctl").exists()


@pytest.mark.parametrize("home", ["/proc/1/x", "/dev/null/home"])
def test_a_home_that_cannot_be_is_78_and_one_line(tmp_path: Path, home: str) -> None:
    done = run(tmp_path, "--home", home, "start")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (78, 1, ""), done.stderr
    assert "cannot be made" in done.stderr
    assert "--home" in done.stderr


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    for command in ("status", "doctor", "enqueue x"):
        script = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; exec {WORKERCTL} {command}"
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (
            1,
            "workerctl: the current folder is gone; go to one that is there\n",
        )


def test_what_the_machine_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").mkdir()
    done = run(tmp_path, "-c", "workerctl.toml", "config", "show")
    assert (done.returncode, done.stderr.count("\n")) in ((1, 1), (78, 1)), done.stderr
    file = tmp_path / "file"
    file.write_text("")
    done = run(tmp_path, "startup", "docker", "--to", file / "Dockerfile")
    assert (done.returncode, done.stderr.count("\n"), done.stderr[-1:]) == (1, 1, "\n"), done.stderr
    assert f"{file}" in done.stderr


def test_a_config_file_that_is_named_and_missing_is_78(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", "missing.toml", "start")
    assert done.returncode == 78
    assert "missing.toml" in done.stderr


def test_a_wrong_environment_names_its_variable(call: Call) -> None:
    done = call("start", WORKERCTL_SUPERVISOR__INSTANCES="many")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "WORKERCTL_SUPERVISOR__INSTANCES" in done.stderr


def test_config_show_hides_the_password_and_says_where_values_come_from(call: Call, tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text("[supervisor]\ninstances = 3\n")
    done = call("config", "show", DATABASE_URL="postgresql://me:verysecret@db.example/queue")
    assert done.returncode == 0
    assert "verysecret" not in done.stdout + done.stderr
    assert "environment DATABASE_URL" in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("supervisor.instances")] == [
        ["supervisor.instances", "file", "3"]
    ]


@pytest.mark.parametrize("query", ["nosuch=1", "verysecret"])
def test_a_url_that_postgresql_cannot_read_is_78_and_one_line_without_its_secrets(call: Call, query: str) -> None:
    url = f"postgresql://me:verysecret@127.0.0.1:1/queue?{query}"
    for command, stream in ((["jobs", "list"], "stderr"), (["start"], "stderr"), (["doctor"], "stdout")):
        done = call(*command, DATABASE_URL=url, WORKERCTL_SUPERVISOR__BOOT_TIMEOUT="20s")
        assert done.returncode == (1 if command == ["doctor"] else 78), done.stderr
        told = [line for line in getattr(done, stream).splitlines() if "database_url: " in line]
        assert len(told) == 1, done.stderr
        assert "verysecret" not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_an_unreachable_database_is_69_for_every_command_that_asks_it(call: Call) -> None:
    url = "postgresql://me:verysecret@127.0.0.1:1/queue"
    for command in (["jobs", "list"], ["enqueue", "x"], ["migrate"], ["queue", "list"], ["nodes"], ["jobs", "stats"]):
        done = call(*command, DATABASE_URL=url)
        assert (done.returncode, done.stderr.count("\n")) == (69, 1), done.stderr
        assert "127.0.0.1:1/queue" in done.stderr
        assert "verysecret" not in done.stderr


def test_a_database_without_our_schema_says_what_to_type(call: Call, database_url: str) -> None:
    for command in (["jobs", "list"], ["enqueue", "x"], ["queue", "list"], ["jobs", "show", "1"], ["nodes"]):
        done = call(*command, DATABASE_URL=database_url)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "workerctl migrate" in done.stderr
    assert call("migrate", "--check", DATABASE_URL=database_url).returncode == 1
    assert call("migrate", DATABASE_URL=database_url).returncode == 0
    assert call("migrate", "--check", DATABASE_URL=database_url).returncode == 0
    assert call("enqueue", "x", DATABASE_URL=database_url).stdout == "1\n"


def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    command = f"{WORKERCTL} config reference | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.startswith("key")
    assert done.stderr == ""


def test_columns_of_chinese_names_align() -> None:
    lines = table(("name", "n"), [["林黛玉", "1"], ["Ahab", "2"]], right=frozenset({1})).splitlines()
    assert len({width(line) for line in lines}) == 1


@pytest.mark.parametrize(("columns", "shown"), [(4, "abc"), (5, "abc林"), (0, "abc林"), (-1, "abc林")])
def test_a_text_is_cut_by_its_columns(columns: int, shown: str) -> None:
    assert cut("abc林", columns) == shown


def modules_of(code: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\n")[-2].split())


HEAVY = (
    "psycopg",
    "boto3",
    "botocore",
    "PIL",
    "httpx",
    "jieba",
    "rich",
    "workerctl.jobs",
    "workerctl.worker",
    "asyncio",
)


def test_the_supervisor_imports_no_driver_no_job_and_no_command_line(tmp_path: Path) -> None:
    modules = modules_of("import workerctl.supervisor.__main__", tmp_path)
    assert not modules & {*HEAVY, "typer", "click", "workerctl.broker", "workerctl.cli", "workerctl.handler"}
    assert not modules & {"dataclasses", "logging", "typing_extensions"}  # megabytes that it has no use for


def test_a_supervisor_that_is_told_no_home_ends_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workerctl.supervisor", "--await"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=tmp_path, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_start_that_is_refused_leaves_no_supervisor_that_it_had_begun(tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text("nonsense = 1\n")
    assert run(tmp_path, "start", MARK=str(tmp_path)).returncode == 78
    left = [process for process in psutil.process_iter() if _mark_of(process) == str(tmp_path)]
    assert not left


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("MARK")
    except psutil.Error:
        return None


def test_status_imports_no_driver_no_job_no_settings_and_no_rich(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['workerctl', 'status']\nfrom workerctl.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 4"
    )
    modules = modules_of(code, tmp_path)
    assert "workerctl.supervisor.client" in modules
    assert not modules & {*HEAVY, "workerctl.broker", "workerctl.settings", "msgspec", "dataclasses"}
