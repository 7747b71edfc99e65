"""The command for real: what it writes is accepted by our own programs, and what is there stays."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from workerctl.cli.init_ecosystem import Unreadable, read_ecosystem
from workerctl.settings import load

WORKERCTL = Path(sys.executable).with_name("workerctl")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node here")

ECOSYSTEM = """\
const path = require('path');
const port = 3000;
module.exports = {
  apps: [
    { name: 'web', script: 'server.js', args: `--port ${port}`, kill_timeout: 5000, max_memory_restart: '200M',
      env: { PORT: port, SESSION_SECRET: 'geheim' }, cron_restart: '0 3 * * *', wait_ready: true },
    { name: '小说 worker', script: 'worker.py', instances: 2, watch: true },
    { name: 'workerctl', script: path.resolve(__dirname, '.venv/bin/workerctl') },
  ],
  deploy: { production: { user: 'node' } },
};
"""


@pytest.fixture
def init(call):
    return call


def loaded(folder):
    return load(None, None, {}, folder)


def test_a_new_config_has_every_key_as_a_comment_and_changes_nothing(init, tmp_path):
    done = init("init")
    assert done.returncode == 0, done.stderr
    found = loaded(tmp_path)
    assert found.config_path == tmp_path / "workerctl.toml"
    (tmp_path / "empty").mkdir()
    bare = loaded(tmp_path / "empty")
    folder = {name: msgspec.structs.replace(pool, path=(str(tmp_path),)) for name, pool in bare.settings.pools.items()}
    assert found.settings.pools == folder
    assert set(found.origins.values()) == {"default"}


def test_every_comment_of_a_new_config_is_a_key_that_can_be_switched_on(init, tmp_path):
    init("init")
    path = tmp_path / "workerctl.toml"
    lines = path.read_text().splitlines()
    switched = []
    for line in lines[4:]:
        if line.startswith("#["):
            break  # tables of names that users choose have keys that must be given
        switched.append(line.removeprefix("#"))
    for line in lines[lines.index("[storage]") :]:
        if line.startswith("#["):
            break
        switched.append(line.removeprefix("#"))
    path.write_text("\n".join(switched))
    assert init("config", "check").returncode == 0, init("config", "check").stderr


@pytest.mark.parametrize(("name", "words"), [("missing.js", "no such file"), (".", "no such file"), ("p.yaml", "YAML")])
def test_a_file_that_pm2_could_not_have_written_is_said_in_words_of_ours(tmp_path, name, words):
    (tmp_path / "p.yaml").write_text("apps: []")
    with pytest.raises(Unreadable, match=words):
        read_ecosystem(tmp_path / name)


@needs_node
def test_what_a_pm2_file_throws_shows_no_password(tmp_path):
    (tmp_path / "a.js").write_text("throw new Error('postgres://u:geheim@h/db')")
    with pytest.raises(Unreadable, match=r"u:\*\*\*@h/db"):
        read_ecosystem(tmp_path / "a.js")


def test_what_is_there_is_never_overwritten_without_force(init, tmp_path):
    (tmp_path / "workerctl.toml").write_text("# mine\n")
    done = init("init")
    assert (done.returncode, "--force" in done.stderr) == (1, True)
    assert (tmp_path / "workerctl.toml").read_text() == "# mine\n"
    assert init("init", "--force").returncode == 0
    assert (tmp_path / "workerctl.toml").read_text() != "# mine\n"


def test_a_config_below_config_is_not_hidden_by_a_new_one(init, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "workerctl.toml").write_text("")
    done = init("init")
    assert (done.returncode, "would hide it" in done.stderr) == (1, True)
    assert not (tmp_path / "workerctl.toml").exists()


def test_the_config_that_is_named_is_written(init, tmp_path):
    assert init("-c", "config/workerctl.toml", "init").returncode == 0
    assert loaded(tmp_path).config_path == tmp_path / "config" / "workerctl.toml"


def test_a_handler_comes_with_a_test_that_passes_and_a_config_that_names_it(tmp_path):
    tests = []
    for kind in ("thumbnail.make", "email", "小说.拆分", "3d-render", "class"):
        folder = tmp_path / kind
        folder.mkdir()
        done = subprocess.run(
            [WORKERCTL, "init", "--job", kind], cwd=folder, stderr=subprocess.PIPE, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        [test] = folder.glob("test_*.py")
        tests.append(test)
        assert loaded(folder).settings.jobs.modules == (test.stem.removeprefix("test_"),)
    passed = subprocess.run([sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
                            cwd=tmp_path, capture_output=True, text=True, check=False)  # fmt: skip
    assert passed.returncode == 0, passed.stdout


def test_a_handler_beside_a_config_leaves_it_and_says_what_to_add(init, tmp_path):
    (tmp_path / "workerctl.toml").write_text("# mine\n")
    done = init("init", "--job", "thumb")
    assert done.returncode == 0, done.stderr
    assert 'modules = ["thumb_job"]' in done.stderr
    assert (tmp_path / "workerctl.toml").read_text() == "# mine\n"
    assert init("init", "--job", "thumb").returncode == 1  # the handler is there by now


def test_a_kind_that_no_python_file_can_hold_is_wrong_usage(init):
    assert init("init", "--job", 'a"b').returncode == 2


@needs_node
def test_a_pm2_file_becomes_tables_and_says_line_by_line_what_it_lost(init, tmp_path):
    (tmp_path / "ecosystem.config.js").write_text(ECOSYSTEM)
    done = init("init", "--from", "ecosystem.config.js")
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert "web: node server.js --port 3000" in said
    for lost in ("cron_restart:", "wait_ready:", "env SESSION_SECRET:"):
        assert any(line.startswith(f"  not carried over: {lost}") for line in said), lost
    assert any(line.startswith("not carried over: deploy") for line in said)
    assert "workerctl: workerctl itself; `workerctl startup pm2` writes that app" in said
    text = (tmp_path / "workerctl.toml").read_text()
    assert "geheim" not in text
    apps = loaded(tmp_path).settings.apps
    web, worker = apps["web"], apps["小说-worker"]
    assert (web.command, web.stop_timeout_seconds, web.max_memory_bytes) == (
        "node server.js --port 3000",
        5.0,
        200 << 20,
    )
    assert (web.env, web.stop_signal) == ({"PORT": "3000"}, "SIGINT")
    assert (worker.command, worker.instances) == ("python3 worker.py", 2)


def test_without_node_literal_objects_are_read_and_it_says_so(init, tmp_path):
    (tmp_path / "ecosystem.config.js").write_text("module.exports = { apps: [{ name: 'a', script: 'a.js' }] };\n")
    done = init("init", "--from", "ecosystem.config.js", PATH="/nowhere")
    assert done.returncode == 0, done.stderr
    assert "was read as literal objects, not evaluated by node" in done.stderr
    assert 'command = "node a.js"' in (tmp_path / "workerctl.toml").read_text()


def test_without_node_a_program_is_refused_with_its_line(init, tmp_path):
    (tmp_path / "ecosystem.config.js").write_text(ECOSYSTEM)
    done = init("init", "--from", "ecosystem.config.js", PATH="/nowhere")
    assert (done.returncode, "line 5" in done.stderr, "install node" in done.stderr) == (1, True, True)
    assert not (tmp_path / "workerctl.toml").exists()


@needs_node
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.js", "console.log('noise'); module.exports = [{ name: 'x', script: 'x.js' }];"),
        ("a.js", "module.exports = () => ({ apps: { name: 'x', script: 'x.js' } });"),
        ("a.cjs", "exports.apps = [{ name: 'x', script: 'x.js' }];"),
        ("a.mjs", "export default { apps: [{ name: 'x', script: 'x.js' }] };"),
        ("a.json", '{"apps": [{"name": "x", "script": "x.js"}]}'),
    ],
)
def test_every_shape_that_pm2_takes_is_read(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_ecosystem(tmp_path / name).apps == [{"name": "x", "script": "x.js"}]


@needs_node
@pytest.mark.parametrize("text", ["throw new Error('bad');", "module.exports = 3;", "syntax error here"])
def test_a_pm2_file_that_cannot_be_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "a.js").write_text(text)
    with pytest.raises(Unreadable) as refused:
        read_ecosystem(tmp_path / "a.js")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_one_line(init):
    done = init("init", "--from", "missing.json")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_the_written_file_is_toml(init, tmp_path):
    init("init")
    tomllib.loads((tmp_path / "workerctl.toml").read_text())


def test_a_pm2_file_without_apps_is_said_to_have_none(init, tmp_path):
    (tmp_path / "processes.json").write_text('{"apps": []}')
    assert "processes.json has no apps" in init("init", "--from", "processes.json").stderr
