"""The command line without anything running: help, completion, and what the configuration shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_typed import WORKERCTL, Call, run

from workerctl.cli.app import make_app


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


def test_config_show_hides_the_password_and_says_where_values_come_from(call: Call, tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text("[supervisor]\ninstances = 3\n")
    done = call("config", "show", DATABASE_URL="postgresql://me:verysecret@db.example/queue")
    assert done.returncode == 0
    assert "verysecret" not in done.stdout + done.stderr
    assert "environment DATABASE_URL" in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("supervisor.instances")] == [
        ["supervisor.instances", "file", "3"]
    ]


def test_config_show_hides_secrets_in_tables_and_commands(call: Call, tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text(
        '[supervisor]\nenv = {MY_API_KEY = "verysecret", PLAIN = "plum", CACHE = "redis://:verysecret@cache:6379"}\n'
        '[apps.web]\ncommand = "serve --auth-token verysecret --password=verysecret --port 80"\n'
        '[schedule.nightly]\ncron = "0 3 * * *"\nkind = "novel.split"\npayload = {token = "verysecret"}\n'
    )
    for done in (call("config", "show"), call("config", "show", "--json")):
        assert done.returncode == 0
        assert "verysecret" not in done.stdout + done.stderr
        assert "plum" in done.stdout and "redis://:***@cache:6379" in done.stdout and "--port 80" in done.stdout


def test_config_show_has_the_values_of_tables_whose_names_need_quotes(call: Call, tmp_path: Path) -> None:
    task = 'cron = "0 3 * * *"\nkind = "novel.split"\n'
    (tmp_path / "workerctl.toml").write_text(
        f'[schedule."每晚"]\n{task}[schedule."a \\"b\\".c"]\n{task}', encoding="utf-8"
    )
    rows = {row["key"]: row["value"] for row in json.loads(call("config", "show", "--json").stdout)}
    assert rows['schedule."每晚".cron'] == rows['schedule."a \\"b\\".c".cron'] == "0 3 * * *"


def test_config_as_json_has_numbers_lists_and_nothing_where_there_is_nothing(call: Call, tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text('[supervisor]\ninstances = 3\nmax_memory = "1GB"\naffinity = [0]\n')
    rows = {row["key"]: row for row in json.loads(call("config", "show", "--json").stdout)}
    assert rows["supervisor.instances"] == {"key": "supervisor.instances", "value": 3, "origin": "file"}
    values = [rows[f"supervisor.{key}"]["value"] for key in ("affinity", "max_memory", "max_memory_hard", "env")]
    assert values == [[0], "1GB", None, {}]
    defaults = {row["key"]: row["default"] for row in json.loads(call("config", "reference", "--json").stdout)}
    assert (defaults["jobs.concurrency"], defaults["jobs.timeout"], defaults["database_url"]) == (8, "5m", None)


def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    command = f"{WORKERCTL} config reference | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.startswith("key")
    assert done.stderr == ""


def test_a_supervisor_that_is_told_no_home_ends_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workerctl.supervisor", "--await"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=tmp_path, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
