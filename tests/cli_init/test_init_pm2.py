"""One PM2 app becomes one table of ours, and every key that does not is said."""

import pytest

from workerctl.cli.init_config import app_text, toml
from workerctl.cli.init_pm2 import NOT_CARRIED, carry_over, command_of, free_name, is_secret


def notes_of(**app):
    carried = carry_over({"name": "api", "script": "api.js", **app})
    return {note.partition(":")[0].split(" ")[0]: note for note in carried.notes}


@pytest.mark.parametrize(
    ("app", "command"),
    [
        ({"script": "server.js"}, "node server.js"),
        ({"script": "worker.py", "args": "--queue fast"}, "python3 worker.py --queue fast"),
        ({"script": "worker.py", "interpreter": "/srv/v env/bin/python"}, "'/srv/v env/bin/python' worker.py"),
        ({"script": "./run", "args": ["--name", "两个 字"]}, "./run --name '两个 字'"),
        ({"script": "/usr/bin/redis-server", "interpreter": "none"}, "/usr/bin/redis-server"),
        ({"script": "npm", "args": "run start"}, "npm run start"),
        ({"script": "npm run start"}, "npm run start"),
        ({"script": "node dist/index.js"}, "node dist/index.js"),
        ({"script": "celery -A app worker", "interpreter": "none"}, "celery -A app worker"),
        ({"script": "cd web && npm start"}, "bash -c 'cd web && npm start'"),
        ({"cmd": "python main.py --port 8000"}, "python main.py --port 8000"),
        ({"script": "app.js", "node_args": ["--max-old-space-size=512"]}, "node --max-old-space-size=512 app.js"),
        ({"exec": "app.ts"}, "bun app.ts"),
    ],
)
def test_the_command_is_the_one_that_pm2_would_run(app, command):
    assert carry_over({"name": "x", **app}).keys["command"] == command


def test_limits_and_deadlines_are_carried_in_our_units():
    app = {"script": "a.js", "instances": 2, "max_memory_restart": "300M", "kill_timeout": 5000, "cwd": "/srv/api"}
    keys = carry_over(app).keys
    assert keys == {
        "command": "node a.js",
        "stop_signal": "SIGINT",
        "instances": 2,
        "max_memory": "300MB",
        "stop_timeout": "5s",
        "cwd": "/srv/api",
    }


def test_values_of_the_environment_are_the_texts_that_pm2_makes_of_them():
    env = {"N": 3, "T": True, "U": None, "O": {"键": [1]}, "S": "s"}
    expected = {"N": "3", "T": "true", "U": "null", "O": '{"键":[1]}', "S": "s"}
    assert carry_over({"script": "a.js", "env": env}).env == expected


@pytest.mark.parametrize(("written", "ours"), [("1G", "1GB"), (104857600, "100MB"), ("104857600", "100MB")])
def test_memory_limits_are_read_as_pm2_reads_them(written, ours):
    assert carry_over({"script": "a.js", "max_memory_restart": written}).keys["max_memory"] == ours


def test_a_memory_limit_that_is_none_is_said_and_left_out():
    carried = carry_over({"script": "a.js", "max_memory_restart": "lots"})
    assert "max_memory" not in carried.keys
    assert carried.notes == ["max_memory_restart 'lots': no number in front"]


def test_cluster_mode_is_said_and_one_process_started():
    carried = carry_over({"script": "a.js", "exec_mode": "cluster", "instances": "max"})
    assert "instances" not in carried.keys
    assert "only node shares a port so" in carried.notes[0]


@pytest.mark.parametrize("key", sorted(NOT_CARRIED))
def test_every_key_that_has_no_place_here_is_said_with_a_reason(key):
    assert notes_of(**{key: "x"})[key] == f"{'uid' if key == 'user' else key}: {NOT_CARRIED[key]}"


def test_wait_ready_other_environments_and_unknown_keys_are_said():
    notes = notes_of(wait_ready=True, env_production={"A": 1}, no_such_key=1)
    assert "ready = {port" in notes["wait_ready"]
    assert "copy what you need" in notes["env_production"]
    assert notes["no_such_key"] == "no_such_key: unknown to us"


def test_the_environment_is_carried_but_no_secret():
    carried = carry_over(
        {"script": "a.js", "env": {"PORT": 3000, "DEBUG": True, "API_KEY": "sk-1", "城市": "上海",
                                   "DATABASE_URL": "postgresql://u:geheim@h/db"}}
    )  # fmt: skip
    assert carried.env == {"PORT": "3000", "DEBUG": "true", "城市": "上海"}
    assert carried.secrets == ["API_KEY", "DATABASE_URL"]
    text = app_text(carried)
    assert "sk-1" not in text
    assert "geheim" not in text
    assert "env API_KEY: a secret" in text


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [("STRIPE_SECRET", "x", True), ("GITHUB_TOKEN", "x", True), ("NODE_ENV", "production", False),
     ("REDIS_URL", "redis://:pw@h", True), ("REDIS_URL", "redis://h", False), ("API_KEY", "", False)],
)  # fmt: skip
def test_secrets_are_known_by_their_name_or_by_a_password_in_their_url(name, value, secret):
    assert is_secret(name, value) is secret


@pytest.mark.parametrize(
    ("wished", "taken", "name"),
    [("api", (), "api"), ("my api!", (), "my-api"), ("Api", ("api",), "Api-2"), ("agent", (), "agent-2"),
     ("图片 服务", (), "图片-服务"), ("---", (), "app"), ("长" * 60, (), "长" * 30)],
)  # fmt: skip
def test_names_are_made_to_fit_and_unique(wished, taken, name):
    assert free_name(wished, taken) == name


def test_workerctl_itself_is_no_app():
    assert carry_over({"name": "workerctl", "script": "/srv/app/.venv/bin/workerctl"}) is None


def test_an_app_without_a_script_is_said():
    assert "script: there is none" in carry_over({"name": "x"}).notes
    assert command_of({}) == "''"


def test_toml_is_what_a_toml_reader_reads():
    import tomllib

    value = {"a b": [1, True, '引号 " \\ \x7f \n'], "empty": {}, "中": {"x": "y"}}
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


def test_what_pm2_was_told_to_do_as_we_do_is_not_worth_a_word():
    assert notes_of(autorestart=True, watch=False, treekill=False, time=True) == {}
    assert set(notes_of(autorestart=False, watch=True, treekill=True)) == {"autorestart", "watch", "treekill"}
