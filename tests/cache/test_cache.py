"""@cached: remembered for its time and no longer, bounded, one look-up at a time a key."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from workerctl import cached
from workerctl.cache import TTL_SECONDS, Counts, cache_counts, forget_all


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("use", "seconds"), [("plan", 300), ("permission", 600), ("quota", 30)])
def test_each_use_has_its_time(use: str, seconds: int):
    clock, asked = Clock(), []

    @cached(use, clock=clock)
    def plan_of(user: str) -> str:
        asked.append(user)
        return f"{user}'s plan {len(asked)}"

    assert [plan_of("ann"), plan_of("ann"), plan_of("bob")] == ["ann's plan 1", "ann's plan 1", "bob's plan 2"]
    clock.now += seconds - 1
    assert plan_of("ann") == "ann's plan 1"
    clock.now += 2
    assert plan_of("ann") == "ann's plan 3"
    assert TTL_SECONDS[use] == seconds


def test_a_key_of_ones_own_tells_calls_apart():
    @cached("test-key", ttl_seconds=60, key=lambda connection, user: user)
    def plan_of(connection: list[str], user: str) -> int:
        connection.append(user)
        return len(connection)

    first, other = ["x"], ["x", "y"]
    assert [plan_of(first, "ann"), plan_of(other, "ann"), plan_of(other, user="bob")] == [2, 2, 3]
    plan_of.forget(first, "ann")
    assert plan_of(first, "ann") == 3
    forget_all()
    assert plan_of(first, "ann") == 4


def test_another_use_says_its_time():
    with pytest.raises(ValueError, match=r"@cached\('colour'\): say ttl_seconds, or one of plan, permission, quota"):
        cached("colour")


def test_a_cache_is_bounded_and_counts_what_it_did():
    @cached("test-bound", ttl_seconds=60, entries=3)
    def double(number: int) -> int:
        return 2 * number

    assert [double(n) for n in (1, 2, 3, 1, 4, 1, 2)] == [2, 4, 6, 2, 8, 2, 4]
    assert cache_counts()["test-bound"] == Counts(hits=2, misses=5, entries=3)


def test_what_is_forgotten_is_looked_up_again():
    answers = iter("abc")

    @cached("plan")
    def plan_of(user: str, *, at: str = "") -> str:
        return next(answers)

    assert [plan_of("ann", at="x"), plan_of("ann", at="x")] == ["a", "a"]
    plan_of.forget("ann", at="x")
    assert plan_of("ann", at="x") == "b"


def test_what_raises_is_not_remembered():
    answers = iter([KeyError("no such user"), "free"])

    @cached("plan")
    def plan_of(user: str) -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(KeyError, match="no such user"):
        plan_of("ann")
    assert plan_of("ann") == "free"


def test_threads_that_ask_for_the_same_wait_for_one_look_up():
    answered, asked = threading.Event(), []

    @cached("test-threads", ttl_seconds=60)
    def quota_of(user: str) -> int:
        asked.append(user)
        assert answered.wait(30)
        return 5

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(quota_of, "ann") for _ in range(8)]
        deadline = time.monotonic() + 30
        while cache_counts()["test-threads"].hits < 7:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        answered.set()
        assert [answer.result() for answer in answers] == [5] * 8
    assert asked == ["ann"]


def test_coroutines_that_ask_for_the_same_wait_for_one_look_up_even_if_the_first_is_cancelled():
    asked = []

    async def story() -> list[int]:
        go = asyncio.Event()

        @cached("quota")
        async def quota_of(user: str) -> int:
            asked.append(user)
            await go.wait()
            return 5

        first, *others = [asyncio.create_task(quota_of("ann")) for _ in range(5)]
        while not asked:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        go.set()
        return [*await asyncio.gather(*others), await quota_of("ann")]

    assert asyncio.run(story()) == [5] * 5
    assert asked == ["ann"]


def test_coroutines_share_an_exception_and_ask_again_afterwards():
    asked = []

    async def story() -> None:
        @cached("quota")
        async def quota_of(user: str) -> int:
            asked.append(user)
            await asyncio.sleep(0)
            raise LookupError("database gone")

        results = await asyncio.gather(*(quota_of("ann") for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [LookupError] * 3
        with pytest.raises(LookupError):
            await quota_of("ann")

    asyncio.run(story())
    assert asked == ["ann", "ann"]


def test_what_is_forgotten_during_its_look_up_is_not_kept():
    answers = iter(["old", "new"])

    async def story() -> list[str]:
        go = asyncio.Event()

        @cached("plan")
        async def plan_of(user: str) -> str:
            answer = next(answers)
            await go.wait()
            return answer

        before = asyncio.create_task(plan_of("ann"))
        await asyncio.sleep(0)  # so that its look-up has begun
        plan_of.forget("ann")
        go.set()
        return [await before, await plan_of("ann")]

    assert asyncio.run(story()) == ["old", "new"]
