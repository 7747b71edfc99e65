"""PM2 files as they are found in real projects become configurations that `config check` accepts."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

NEXT = """
require('path');
module.exports = {
  apps: [
    { name: 'web', script: 'node_modules/next/dist/bin/next', args: 'start -p 3000', instances: 'max',
      exec_mode: 'cluster', max_memory_restart: '1G', env: { NODE_ENV: 'production' }, env_production: { PORT: 80 } },
    { name: 'worker', script: './dist/worker.js', instances: 2, kill_timeout: 30000, wait_ready: true,
      listen_timeout: 10000, env: { REDIS_URL: 'redis://:hunter2@localhost:6379', LOG_LEVEL: 'info' } },
    { name: 'cron', script: './dist/cron.js', cron_restart: '0 3 * * *', autorestart: false, watch: false },
  ],
  deploy: { production: { user: 'deploy', host: 'example.com', repo: 'git@example.com:a/b.git' } },
};
"""
CELERY = """
const path = require('path');
const venv = path.join(__dirname, 'venv', 'bin');
module.exports = { apps: [
  { name: 'api', cwd: __dirname, script: path.join(venv, 'gunicorn'), interpreter: 'none',
    args: 'project.wsgi:application -b 127.0.0.1:8000 -w 3', max_memory_restart: '400M' },
  { name: 'celery worker', script: path.join(venv, 'celery'), interpreter: 'none',
    args: '-A project worker -l info -Q default,images -c 4', kill_timeout: 60000, error_file: '/var/log/c.err' },
  { name: 'celery-beat', script: path.join(venv, 'celery'), args: ['-A', 'project', 'beat'], interpreter: 'none' },
  { name: 'flower', script: 'manage.py', interpreter: path.join(venv, 'python'), args: 'flower --port=5555',
    env: { DJANGO_SETTINGS_MODULE: 'project.settings', SECRET_KEY: 'abc' } },
] };
"""
SCRIPTS = """{
  "apps": [
    {"name": "bot", "script": "bot.py", "interpreter": "python3", "watch": true, "ignore_watch": ["data"],
     "max_restarts": 5, "min_uptime": "10s", "restart_delay": 4000, "out_file": "out.log", "time": true},
    {"name": "bot", "script": "npm", "args": "run worker -- --queue=mail", "increment_var": "PORT"},
    {"script": "backup.sh", "instances": -1, "uid": "www-data"}
  ]
}"""
YAML_LIKE_LIST = "module.exports = [{ script: 'serve.js', port: 8080, node_args: '--max-old-space-size=256' }]\n"
FILES = {"next": NEXT, "celery": CELERY, "scripts": SCRIPTS, "list": YAML_LIKE_LIST}


def _converted(call, tmp_path: Path, name: str) -> tuple[dict, str]:
    if shutil.which("node") is None:
        pytest.skip("no node here: these files are programs")
    file = tmp_path / ("ecosystem.json" if name == "scripts" else "ecosystem.config.js")
    file.write_text(FILES[name])
    done = call("init", "--from", file.name)
    assert done.returncode == 0, done.stderr
    checked = call("config", "check")
    assert checked.returncode == 0, checked.stderr
    return tomllib.loads((tmp_path / "workerctl.toml").read_text())["apps"], done.stdout + done.stderr


def test_next_with_a_node_worker(call, tmp_path):
    apps, said = _converted(call, tmp_path, "next")
    assert apps["web"]["command"] in (
        "node_modules/next/dist/bin/next start -p 3000",
        "node node_modules/next/dist/bin/next start -p 3000",
    )
    assert apps["web"]["max_memory"] == "1GB"
    assert apps["web"]["env"] == {"NODE_ENV": "production"}
    assert (apps["worker"]["instances"], apps["worker"]["stop_timeout"]) == (2, "30s")
    assert apps["worker"]["env"] == {"LOG_LEVEL": "info"}
    assert "hunter2" not in said + (tmp_path / "workerctl.toml").read_text()
    for word in ("exec_mode cluster", "env_production", "wait_ready", "cron_restart", "REDIS_URL", "deploy"):
        assert word in said, word


def test_gunicorn_and_celery_below_a_venv(call, tmp_path):
    apps, said = _converted(call, tmp_path, "celery")
    venv = tmp_path / "venv" / "bin"
    assert apps["api"]["command"] == f"{venv}/gunicorn project.wsgi:application -b 127.0.0.1:8000 -w 3"
    assert apps["celery-worker"]["command"] == f"{venv}/celery -A project worker -l info -Q default,images -c 4"
    assert apps["celery-worker"]["stop_timeout"] == "60s" or apps["celery-worker"]["stop_timeout"] == "1m"
    assert apps["celery-beat"]["command"] == f"{venv}/celery -A project beat"
    assert apps["flower"]["command"] == f"{venv}/python manage.py flower --port=5555"
    assert "SECRET_KEY" in said
    assert "abc" not in (tmp_path / "workerctl.toml").read_text()


def test_scripts_of_every_kind_with_names_that_collide(call, tmp_path):
    apps, said = _converted(call, tmp_path, "scripts")
    assert [app["command"] for app in apps.values()] == [
        "python3 bot.py",
        "npm run worker -- --queue=mail",
        "bash backup.sh",
    ]
    assert list(apps) == ["bot", "bot-2", "backup"]
    for word in ("watch", "max_restarts", "restart_delay", "increment_var", "uid", "out_file"):
        assert word in said, word


def test_a_bare_list_with_a_port(call, tmp_path):
    apps, _ = _converted(call, tmp_path, "list")
    assert apps["serve"]["command"] == "node --max-old-space-size=256 serve.js"
    assert apps["serve"]["env"] == {"PORT": "8080"}
