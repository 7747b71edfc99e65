"""Pure: one PM2 app becomes one [apps.NAME] table, and a line for everything that could not be carried over."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ..settings.check import RESERVED_NAMES
from ..settings.redact import is_secret_name, redact
from ..settings.units import duration_text, size_bytes, size_text

INTERPRETERS = {
    ".js": "node", ".cjs": "node", ".mjs": "node", ".py": "python3", ".sh": "bash", ".rb": "ruby", ".php": "php",
    ".pl": "perl", ".coffee": "coffee", ".ls": "lsc", ".ts": "bun", ".tsx": "bun",
}  # fmt: skip
ALIASES = {
    "exec": "script", "interpreter": "exec_interpreter", "cron": "cron_restart", "user": "uid",
    "interpreter_args": "node_args", "interpreterArgs": "node_args", "nodeArgs": "node_args",
}  # fmt: skip
SHELL = re.compile(r"[|&;<>()$`\\\"'*?\[\]#~={}]")  # a word with one of these means something to a shell
NAME_BYTES = 90  # with room for a number behind it

_LOGS = "logs lie in the home, with times, rotated by [logs]: `workerctl logs NAME`"
_POLICY = "restarts follow one policy: at once, then 0.5 s doubling to 60 s; 5 crashes in 60 s park a slot for 5 min"
_WATCH = "nothing is watched in production; `workerctl dev` reloads workers when files change"
_STOP = "our stop signal goes to the app's main process alone"
NOT_CARRIED = (
    dict.fromkeys(("out_file", "out", "output", "out_log", "error_file", "error", "err", "err_file", "err_log",
                   "log_file", "log", "disable_logs", "log_type", "log_date_format", "time", "merge_logs",
                   "combine_logs"), _LOGS)
    | dict.fromkeys(("max_restarts", "min_uptime", "restart_delay", "exp_backoff_restart_delay", "autorestart",
                     "stop_exit_codes"), _POLICY)
    | dict.fromkeys(("watch", "ignore_watch", "watch_delay", "watch_options"), _WATCH)
    | dict.fromkeys(("treekill", "shutdown_with_message", "kill_retry_time"), _STOP)
    | dict.fromkeys(("uid", "gid", "username"), "everything runs as one user: [supervisor] user")
    | dict.fromkeys(("instance_var", "increment_var"), "instances get no number: give each app of its own its PORT")
    | {
        "cron_restart": "nothing is restarted by the clock: max_memory replaces what grows, [schedule.NAME] runs jobs",
        "namespace": "there is none: `workerctl restart NAME` takes one name",
        "pid_file": "no file: `workerctl show NAME` has the pid",
        "filter_env": "the app gets the supervisor's environment and `env`",
        "autostart": "every app starts with the supervisor",
        "post_update": "there is no update command: deploy, then `workerctl restart NAME`",
    }
)  # fmt: skip
_AS_WE_DO = {"autorestart": True, "watch": False, "treekill": False, "shutdown_with_message": False, "autostart": True,
             "disable_logs": False, "time": True}  # fmt: skip
_SILENT = frozenset({"vizion", "pmx", "automation", "trace", "disable_trace", "v8", "event_loop_inspector", "io",
                     "deep_monitoring", "source_map_support", "disable_source_map_support", "windowsHide", "force",
                     "write", "append_env_to_name", "name_prefix", "install_url", "execute_command"})  # fmt: skip


@dataclass(slots=True)
class App:
    """One [apps.NAME] table: its keys as TOML values, secrets apart, and what got lost on the way."""

    name: str
    keys: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)  # names of `env` that are left out
    notes: list[str] = field(default_factory=list)


def carry_over(raw: dict[str, Any], taken: Collection[str] = ()) -> App | None:
    """The app as ours; None for workerctl itself. `taken` are names in use already."""
    app = {ALIASES.get(key, key): value for key, value in raw.items() if value is not None}
    for alias in ("cmd", "command"):
        if alias in app:
            app.setdefault("script", app.pop(alias))
    script = str(app.get("script") or "")
    if PurePosixPath(script).name == "workerctl":
        return None
    wished = str(app.get("name") or PurePosixPath(script).stem or "app")
    carried = App(free_name(wished, taken))
    if carried.name != wished:
        carried.notes.append(f"name {wished!r} is {carried.name!r} here")
    if not script:
        carried.notes.append("script: there is none")
    carried.keys |= {"command": command_of(app), "stop_signal": "SIGINT"}  # what PM2 sends
    _carry_instances(app, carried)
    _carry_limits(app, carried)
    _carry_environment(app, carried)
    _say_what_is_lost(app, carried)
    return carried


def free_name(wished: str, taken: Collection[str]) -> str:
    """The name in letters, digits, _ and -, unlike every other whatever its capitals."""
    base = re.sub(r"[^\w-]+", "-", wished).strip("-_").encode()[:NAME_BYTES].decode(errors="ignore") or "app"
    used = {name.casefold() for name in (*RESERVED_NAMES - {"web"}, *taken)}
    candidates = (base if number == 1 else f"{base}-{number}" for number in range(1, 10_000))
    return next(name for name in candidates if name.casefold() not in used)


def command_of(app: dict[str, Any]) -> str:
    """The command line that PM2 would run, in one string."""
    script = str(app.get("script") or "")
    interpreter = app.get("exec_interpreter")
    words = [script]
    if " " in script and interpreter in (None, "none", ""):
        # PM2 gives it to `bash -c`; what needs no shell gets none, so that the stop signal reaches the program
        interpreter, words = None, ["bash", "-c", script] if SHELL.search(script) else script.split()
    elif interpreter is None:
        interpreter = INTERPRETERS.get(PurePosixPath(script).suffix)
    parts = [] if interpreter in (None, "none", "") else [shlex.quote(str(interpreter)), *_words(app.get("node_args"))]
    return " ".join([*parts, *map(shlex.quote, words), *_words(app.get("args"))])


def _words(value: Any) -> list[str]:
    """Arguments as PM2 takes them: a list of words, or one string that is written as a shell would have it."""
    if value is None or value == "":
        return []
    return [shlex.quote(str(word)) for word in value] if isinstance(value, list) else [str(value)]


def _carry_instances(app: dict[str, Any], carried: App) -> None:
    wished = app.get("instances", 1)
    mode = str(app.get("exec_mode", ""))
    if mode.startswith("cluster"):
        carried.notes.append(
            f"exec_mode cluster, instances {wished}: only node shares a port so; one is started, "
            "raise `instances` where the app listens with SO_REUSEPORT or uses node:cluster itself"
        )
        return
    if isinstance(wished, str) and wished != "max" and not wished.lstrip("-").isdigit():
        carried.notes.append(f"instances {wished!r} is no number: one is started")
        return
    count = "max" if wished == "max" or int(wished) <= 0 else int(wished)
    if count == "max":
        carried.notes.append("instances max: give the number, an app is not counted by cores")
    elif count != 1:
        carried.keys["instances"] = count


def _carry_limits(app: dict[str, Any], carried: App) -> None:
    if "max_memory_restart" in app:
        limit = app["max_memory_restart"]
        try:
            carried.keys["max_memory"] = size_text(size_bytes(int(limit) if str(limit).isdigit() else str(limit)))
        except ValueError as error:
            carried.notes.append(f"max_memory_restart {limit!r}: {error}")
    for key, ours in (("kill_timeout", "stop_timeout"), ("listen_timeout", "boot_timeout")):
        if key in app:
            try:
                carried.keys[ours] = duration_text(float(app[key]) / 1000)
            except (TypeError, ValueError):
                carried.notes.append(f"{key} {app[key]!r} is no number of milliseconds")
    if "cwd" in app:
        carried.keys["cwd"] = str(app["cwd"])


def _carry_environment(app: dict[str, Any], carried: App) -> None:
    given = app.get("env") or {}
    if isinstance(given, dict):
        texts = {str(name): _text(value) for name, value in given.items()}
        carried.secrets = [name for name, text in texts.items() if is_secret(name, text)]
        carried.env = {name: text for name, text in texts.items() if name not in carried.secrets}
    if "port" in app:
        carried.env.setdefault("PORT", _text(app["port"]))
    for name in carried.secrets:
        carried.notes.append(f"env {name}: a secret; set it in the supervisor's environment, which the app inherits")


def is_secret(name: str, text: str) -> bool:
    """Whether a value must not stand in a configuration file: by its name, or by a password in its URL."""
    return bool(text) and (is_secret_name(name) or redact(text) != text)


def _say_what_is_lost(app: dict[str, Any], carried: App) -> None:
    if app.get("wait_ready"):
        carried.notes.append(
            "wait_ready: process.send('ready') is not heard; write ready = {port = N} or {command = \"...\"}"
        )
    for key, value in app.items():
        if key in _AS_WE_DO and value is _AS_WE_DO[key]:
            continue
        if key in NOT_CARRIED:
            carried.notes.append(f"{key}: {NOT_CARRIED[key]}")
        elif key.startswith("env_"):
            carried.notes.append(f"{key}: there is one environment a config; copy what you need into `env`")
        elif key not in _CARRIED and key not in _SILENT:
            carried.notes.append(f"{key}: unknown to us")


_CARRIED = frozenset({"script", "name", "args", "exec_interpreter", "node_args", "instances", "exec_mode", "cwd", "env",
                      "max_memory_restart", "kill_timeout", "listen_timeout", "wait_ready", "port"})  # fmt: skip


def _text(value: Any) -> str:
    """A value of `env` as PM2 gives it to the process."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
