"""Where the config is found, and where the home lies."""

from pathlib import Path

import pytest
from settings_loaded import refusal

from workerctl.contract import Unusable
from workerctl.settings import load, load_for_producer


def test_the_file_is_searched_in_order(tmp_path):
    def path_found(config=None, **environ):
        return load(config, None, environ, tmp_path).config_path

    assert path_found() is None
    (tmp_path / "config").mkdir()
    for name in ("config/workerctl.toml", "workerctl.toml", "named.toml", "given.toml"):
        (tmp_path / name).write_text("")
        assert path_found(WORKERCTL_CONFIG="named.toml" if (tmp_path / "named.toml").exists() else "",
                          config=Path("given.toml") if name == "given.toml" else None) == tmp_path / name  # fmt: skip


def test_a_file_that_was_named_must_be_there(tmp_path):
    with pytest.raises(Unusable, match=r"^none\.toml: no such file, but --config names it$"):
        load(Path("none.toml"), None, {}, tmp_path)
    assert refusal(tmp_path, WORKERCTL_CONFIG="gone.toml") == "gone.toml: no such file, but WORKERCTL_CONFIG names it"


@pytest.mark.parametrize("config", ["workerctl.toml", "config/workerctl.toml", "config/other.toml", "deep/er/x.toml"])
def test_the_home_lies_beside_the_config_and_beside_its_folder_named_config(tmp_path, config):
    path = tmp_path / config
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[jobs]\npath = ['lib']\n")
    project = tmp_path / "deep/er" if config.startswith("deep") else tmp_path
    found = load(path, None, {}, Path("/"))
    assert found.home == project / ".workerctl"
    assert found.settings.jobs.path == (str(project / "lib"),)


def test_a_home_that_was_given_wins(tmp_path):
    environ = {"WORKERCTL_HOME": "from-environment"}
    assert load(None, Path("given"), environ, tmp_path).home == tmp_path / "given"
    assert load(None, None, environ, tmp_path).home == tmp_path / "from-environment"
    assert load(None, Path("/abs"), environ, tmp_path).home == Path("/abs")


@pytest.mark.parametrize("config", ["workerctl.toml", "config/workerctl.toml"])
def test_a_producer_finds_the_config_upward_and_the_nearest_one(tmp_path, config):
    deep = tmp_path / "app" / "web"
    deep.mkdir(parents=True)
    assert load_for_producer({}, deep).home == deep / ".workerctl"
    (tmp_path / config).parent.mkdir(exist_ok=True)
    (tmp_path / config).write_text("connection_limit = 7\n")
    found = load_for_producer({}, deep)
    assert (found.config_path, found.home) == (tmp_path / config, tmp_path / ".workerctl")
    assert load_for_producer({"WORKERCTL_HOME": "here"}, deep).home == deep / "here"
    (tmp_path / "app" / "workerctl.toml").write_text("connection_limit = 8\n")
    assert load_for_producer({}, deep).settings.connection_limit == 8
    (deep / "named.toml").write_text("connection_limit = 9\n")
    assert load_for_producer({"WORKERCTL_CONFIG": "named.toml"}, deep).settings.connection_limit == 9
    with pytest.raises(Unusable, match="WORKERCTL_CONFIG names it"):
        load_for_producer({"WORKERCTL_CONFIG": "gone.toml"}, deep)
