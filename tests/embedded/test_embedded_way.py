"""As whom the server runs: pure choices."""

import os
from pathlib import Path

import pytest

from workerctl.broker._embedded_way import How, Way, agree, choose_way, first_closed_folder
from workerctl.contract import Unusable

FOLDER = Path("/srv/home/postgres")
ROOT_IN_NAMESPACE = How(Way.NAMESPACE, 0)
AS_NOBODY = How(Way.NOBODY, 65534)
AS_USER = How(Way.USER, 1000)


def never_asked() -> bool:
    raise AssertionError("an ordinary user needs no namespace")


def test_an_ordinary_user_needs_nothing():
    assert choose_way(1000, never_asked) is Way.USER


def test_root_prefers_a_user_namespace():
    assert choose_way(0, lambda: True) is Way.NAMESPACE


def test_root_runs_as_nobody_where_namespaces_are_refused():
    assert choose_way(0, lambda: False) is Way.NOBODY


@pytest.mark.parametrize("how", [ROOT_IN_NAMESPACE, AS_NOBODY, AS_USER])
def test_the_first_start_and_the_same_way_again_are_fine(how):
    assert agree(None, how, FOLDER) == how
    assert agree(how, how, FOLDER) == how


def test_root_stays_nobody_once_the_folder_is_nobodys_even_if_namespaces_work_later():
    assert agree(AS_NOBODY, ROOT_IN_NAMESPACE, FOLDER) == AS_NOBODY


@pytest.mark.parametrize(
    ("recorded", "chosen", "remedy"),
    [
        (AS_USER, ROOT_IN_NAMESPACE, "start as uid 1000"),
        (AS_USER, How(Way.USER, 1001), "start as uid 1000"),
        (ROOT_IN_NAMESPACE, AS_USER, "start as root"),
        (ROOT_IN_NAMESPACE, AS_NOBODY, "allow user namespaces"),
        (AS_NOBODY, AS_USER, "start as root"),
    ],
)
def test_another_way_later_is_refused_with_the_reason_and_what_to_do(recorded, chosen, remedy):
    with pytest.raises(Unusable) as refused:
        agree(recorded, chosen, FOLDER)
    message = str(refused.value)
    assert recorded.way in message
    assert chosen.way in message
    assert remedy in message
    assert "\n" not in message


def test_only_root_is_told_what_the_first_start_does():
    assert "namespace" in ROOT_IN_NAMESPACE.explanation()
    assert "nobody" in AS_NOBODY.explanation()
    assert AS_USER.explanation() == ""


def test_the_first_closed_folder_on_the_way_is_named(tmp_path):
    closed = tmp_path / "closed"
    inside = closed / "bin"
    inside.mkdir(parents=True)
    closed.chmod(0o700)
    assert first_closed_folder(Path(os.sep)) is None
    found = first_closed_folder(inside)
    assert found is not None
    assert closed.is_relative_to(found)  # pytest's own folder may be closed already
