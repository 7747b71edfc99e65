"""What `dev` watches: the folders that code comes from, without what only fills them."""

from workerctl.cli.dev_watch import changes, snapshot


def watched(folder, *single):
    return snapshot([str(folder)], single, folder / ".workerctl")


def test_code_and_configuration_are_watched_and_what_fills_folders_is_not(tmp_path):
    for name in ("a.py", "deep/er/b.py", "deep/q.sql", "notes.md", ".hidden.py", ".git/c.py", "__pycache__/a.py",
                 "node_modules/d.py", "env/pyvenv.cfg", "env/lib/e.py", ".workerctl/f.py", "中文/代码.py"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    found = {path.removeprefix(f"{tmp_path}/") for path in watched(tmp_path)}
    assert found == {"a.py", "deep/er/b.py", "deep/q.sql", "中文/代码.py"}


def test_single_files_are_watched_wherever_they_are(tmp_path):
    (tmp_path / "config").mkdir()
    path = tmp_path / "config" / "x.conf"
    before = watched(tmp_path / "config", path)
    path.write_text("1")
    assert changes(before, watched(tmp_path / "config", path)) == [str(path)]


def test_a_file_that_came_went_or_was_written_is_a_change(tmp_path):
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text("1")
    before = watched(tmp_path)
    assert changes(before, watched(tmp_path)) == []
    (tmp_path / "a.py").write_text("12")
    (tmp_path / "b.py").unlink()
    (tmp_path / "d.py").write_text("")
    assert [path[-4:] for path in changes(before, watched(tmp_path))] == ["a.py", "b.py", "d.py"]
