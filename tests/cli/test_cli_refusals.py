"""What errors and refusals look like: their exit codes, and one line that says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest
from cli_typed import WORKERCTL, Call, run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--in", "10q"), "unknown duration unit 'q'; expected a duration such as 500ms, 10s"),
        (("--in", "-5m"), "no number in front; expected a duration"),
        (("--at", "tomorrow"), "such as 2026-12-24T18:00"),
        (("--payload", "@missing.json"), "No such file or directory"),
        (("size=1", "size=2"), "'size=2': size is given twice"),
    ],
)
def test_wrong_times_and_files_are_wrong_usage_that_says_what_is_right(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(tmp_path, "enqueue", "x", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert words in done.stderr
    assert "Errno" not in done.stderr


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
        assert "see `workerctl doctor`" in done.stderr
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


def test_a_module_that_is_not_there_is_78_when_checked_as_when_started(tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text('[jobs]\nmodules = ["missing"]\n')
    done = run(tmp_path, "config", "check")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert f"jobs.modules: there is no module 'missing' in {tmp_path}" in done.stderr


def test_the_words_of_a_module_that_cannot_be_imported_are_one_note(tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text('[jobs]\nmodules = ["broken"]\n')
    (tmp_path / "broken.py").write_text("raise RuntimeError('配置坏了\\nsecond line \\x1b[2J')\n")
    done = run(tmp_path, "config", "check")
    note, verdict = done.stderr.splitlines()
    assert "配置坏了 second line" in note and "\x1b" not in note
    assert "fine" in verdict


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
