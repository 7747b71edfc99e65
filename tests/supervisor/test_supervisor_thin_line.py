"""Start, fork, ready, status, stop: with real processes."""

from __future__ import annotations

from toy_house import House, is_alive, until


def test_workers_are_forked_become_ready_and_leave_when_asked(house: House) -> None:
    house.start(*house.workers(4))
    pids = house.until_ready(4)
    assert house.until_state("running") == "running"
    status = house.status()
    assert status["supervisor"]["version"] == "0.1.0"
    assert [worker["slot"] for worker in status["pools"][0]["workers"]] == [1, 2, 3, 4]
    assert house.stop() == 0
    assert house.outcome() == {"exit_code": 0, "message": ""}
    assert not any(is_alive(pid) for pid in pids)
    assert until(lambda: not house.left_over())
