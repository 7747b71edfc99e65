"""Limits by kind and plan from the environment; kinds that no job module knows."""

from __future__ import annotations

import pytest

from workerctl.cli.known_kinds import unknown_kinds
from workerctl.contract import Unusable
from workerctl.settings import ScheduleSettings, Settings, load


def test_a_kind_of_a_plan_has_a_limit_from_the_environment(tmp_path):
    environ = {"MAX_DS_CHAT_PAID": "8", "MAX_IMAGE_FREE": "2", "QUEUE_MAX_TRIAL": "5", "MAX_IMAGE_TRIAL": "1"}
    others = {"MAX_FILE_SIZE": "10", "MAX_CONCURRENT_JOBS": "3", "MAX_PAID": "7", "MAX_IMAGE_PAID": ""}
    found = load(None, None, environ | others, tmp_path)
    assert found.settings.limits == {"ds_chat:paid": 8, "image:free": 2, "image:trial": 1}
    assert found.warnings == []


def test_a_limit_from_the_environment_that_is_no_number_is_refused_with_its_name(tmp_path):
    for name in ("MAX_IMAGE_PAID", "QUEUE_MAX_PAID"):
        with pytest.raises(Unusable, match=f'environment {name} = "many": expected a whole number'):
            load(None, None, {name: "many"}, tmp_path)


def test_names_that_no_job_module_knows_are_told_with_what_was_meant():
    settings = Settings(
        limits={"image": 1, "imgae": 2, "user:{user_id}": 3, "ds_chat:paid": 4, "vidoe:free": 5, "up_scale:free": 6}
        | {"plan:paid": 7, "ds_chat": 8, "novel.split:paid": 9},
        rates={"image.generate": "1/1m"},
        admission={"plan:free": 1, "novel.splitt": 2, "image": 3, "image:free": 4, "ds_chat": 5},
        schedule={
            "nightly": ScheduleSettings(cron="0 3 * * *", kind="report"),
            "daily": ScheduleSettings(cron="0 3 * * *", kind="image"),
        },
    )
    kinds = {"image.generate", "ds.chat", "novel.split", "video.make", "up-scale.fast"}
    assert list(unknown_kinds(settings, kinds)) == [
        "limits.imgae: no job module knows the kind 'imgae'; did you mean image?",
        "limits.vidoe:free: no job module knows the kind 'vidoe'; did you mean video?",
        "limits.ds_chat: no job module knows the kind 'ds_chat'; did you mean ds.chat?",
        "admission.novel.splitt: no job module knows the kind 'novel.splitt'; did you mean novel.split?",
        "admission.image:free: no job module knows the kind 'image:free'; did you mean image?",
        "admission.ds_chat: no job module knows the kind 'ds_chat'; did you mean ds.chat?",
        "schedule.nightly.kind: no job module knows the kind 'report'",
        "schedule.daily.kind: no job module knows the kind 'image'",
    ]
