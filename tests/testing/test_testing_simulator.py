"""The simulator as a process, its faults, its ledger."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter

import httpx
import pytest

from workerctl.testing.simulator import Fault, FaultKind, Simulator
from workerctl.testing.simulator.faults import POSSIBLE, Faults
from workerctl.testing.simulator.latency import Latency


def test_the_process_says_its_address_takes_faults_and_leaves_on_sigterm():
    command = [sys.executable, "-m", "workerctl.testing.simulator", "--key", "k", "--seed", "3", "--fault", "any=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            base = json.loads(process.stdout.readline())["base_url"]
            script = [{"kind": "server_error", "operation": "images"}]
            assert httpx.post(f"{base}/faults", json=script).status_code == 200
            assert httpx.post(f"{base}/faults", json=[{"kind": "no_such"}]).status_code == 422
            assert httpx.post(f"{base}/say", json=["hello"]).status_code == 200
            asked = {"model": "dall-e-2", "prompt": "a", "size": "256x256"}
            headers = {"Authorization": "Bearer k"}
            statuses = [httpx.post(f"{base}/v1/images/generations", json=asked, headers=headers).status_code
                        for _ in range(2)]  # fmt: skip
            assert statuses == [500, 200]
            ledger = httpx.get(f"{base}/ledger").json()
            assert (ledger["requests"], ledger["paid_requests"], ledger["cost_usd"]) == (2, 1, 0.02)
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_a_drawn_fault_depends_on_seed_and_content_and_not_on_the_order_of_arrival():
    chances = 0.5
    names = [f"job {number}" for number in range(200)]
    one, other = Faults(chances=chances, seed=1), Faults(chances=chances, seed=1)
    forth = {name: one.draw("images", name) for name in names}
    back = {name: other.draw("images", name) for name in reversed(names)}
    assert forth == back
    assert forth != {name: Faults(chances=chances, seed=2).draw("images", name) for name in names}


def test_the_share_of_faults_is_the_chance_that_was_asked_for():
    faults = Faults(chances={FaultKind.RESET: 0.05, FaultKind.HANG: 0.05}, seed=5)
    drawn = Counter(fault.kind if (fault := faults.draw("images", str(number))) else None for number in range(4000))
    assert 150 < drawn[FaultKind.RESET] < 250
    assert 150 < drawn[FaultKind.HANG] < 250


def test_a_share_of_any_fault_is_spread_over_those_that_the_call_can_have():
    faults = Faults(chances=0.1, seed=5)
    for operation in ("images", "status"):
        drawn = Counter(fault.kind for number in range(4000) if (fault := faults.draw(operation, str(number))))
        assert 320 < drawn.total() < 480
        assert set(drawn) == POSSIBLE[operation]


def test_a_scripted_fault_waits_for_the_call_that_it_means():
    faults = Faults([Fault(FaultKind.REFUSED, prompt="secret"), Fault(FaultKind.DUPLICATE)])
    assert faults.draw("images", "a", "a cat") is None
    assert faults.draw("status", "a", "a secret") is None
    assert faults.draw("images", "b", "a secret").kind is FaultKind.REFUSED
    assert faults.draw("webhook", "b").kind is FaultKind.DUPLICATE
    with pytest.raises(ValueError, match="cannot have"):
        Fault(FaultKind.DUPLICATE, operation="images")


def test_latencies_are_read_from_words():
    assert Latency.parse("1..3") == Latency(1, 3)
    assert Latency.parse("2~0.5") == Latency(2, 2, 0.5)
    assert Latency.parse(0) == Latency(0, 0)
    for wrong in ("3..1", "-1", "x", "nan", "1~inf"):
        with pytest.raises(ValueError):
            Latency.parse(wrong)


def test_a_simulator_that_ends_leaves_nobody_waiting():
    with Simulator(latency=60) as provider:
        asked = {"model": "dall-e-2", "prompt": "a"}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{provider.openai_url}/images/generations", json=asked, timeout=0.1,
                       headers={"Authorization": f"Bearer {provider.key}"})  # fmt: skip
        assert provider.ledger.peak == 1
