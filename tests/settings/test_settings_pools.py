from __future__ import annotations

from settings_loaded import loaded

from workerctl.settings import settings_of_pool


def test_the_environment_reaches_pools_by_the_name_that_the_file_spells(tmp_path):
    text = "[pools.Big-Ones]\nqueues = ['big']\n"
    found = loaded(tmp_path, text, WORKERCTL_POOLS__BIG_ONES__INSTANCES="3", WORKERCTL_POOLS__NEW__QUEUES="a,b")
    assert found.settings.pools["Big-Ones"].instances == 3
    assert found.settings.pools["new"].queues == ("a", "b")
    assert found.origins["pools.Big-Ones.instances"] == "environment WORKERCTL_POOLS__BIG_ONES__INSTANCES"


def test_pools_inherit_what_they_do_not_say(tmp_path):
    text = """
        [supervisor]
        instances = 2
        max_memory = "1GB"
        [jobs]
        concurrency = 4
        [pools.content]
        queues = ["content_generation"]
        concurrency = 1
        """
    found = loaded(tmp_path, text)
    content, default = found.settings.pools["content"], found.settings.pools["default"]
    assert (content.queues, content.instances, content.concurrency) == (("content_generation",), 2, 1)
    assert (default.queues, default.instances, default.concurrency) == ((), 2, 4)
    assert content.max_memory_bytes == default.max_memory_bytes == 1024**3
    assert found.origins["pools.content.concurrency"] == found.origins["pools.content.instances"] == "file"
    assert found.origins["pools.content.stop_timeout"] == "default"


def test_a_pool_imports_and_runs_as_it_says_and_else_as_the_jobs_table_does(tmp_path):
    found = loaded(
        tmp_path,
        """
        [jobs]
        modules = ["everyday"]
        timeout = "1m"
        retry_delay = "3s"
        [pools.content]
        queues = ["content"]
        modules = ["content"]
        path = ["service", "/opt/lib"]
        shipped = false
        poll_interval = "1s"
        retry_delay = "1s"
        """,
        WORKERCTL_POOLS__CONTENT__TIMEOUT="90",
    )
    own, settings = settings_of_pool(found.settings, "content").jobs, found.settings
    assert (own.modules, own.shipped) == (("content",), False)
    assert own.path == (str(tmp_path / "service"), "/opt/lib")
    assert (own.poll_interval_seconds, own.timeout_seconds, own.retry_delay_seconds) == (1, 90, 1)
    assert settings_of_pool(settings, "default") == settings
    assert (settings.jobs.modules, settings.jobs.path, settings.jobs.timeout_seconds) == (
        ("everyday",), (str(tmp_path),), 60,
    )  # fmt: skip
    assert found.origins["pools.content.modules"] == found.origins["pools.content.retry_delay"] == "file"
    assert found.origins["pools.content.timeout"] == "environment WORKERCTL_POOLS__CONTENT__TIMEOUT"
