"""`python -m workerctl.testing.simulator --port 0`: the simulator as a process, until it is interrupted."""

from __future__ import annotations

import argparse
import json
import signal
import sys

from .faults import Chances, FaultKind
from .simulator import KEY, RUNNERS, Simulator


def main() -> int:
    """Print one line of JSON with the addresses once it serves; leave on SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="workerctl.testing.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--key", default=KEY, help="the API key that it takes")
    parser.add_argument("--latency", default="0", help="seconds a piece of work: 2, 1..3 or 2~0.5 (log-normal)")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=CHANCE",
                        help=f"share of calls with a fault: any, or {', '.join(FaultKind)}")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="what is drawn depends on it")
    parser.add_argument("--runners", type=int, default=RUNNERS, help="requests of the fal queue in progress at once")
    asked = parser.parse_args()
    try:
        simulator = Simulator(port=asked.port, key=asked.key, latency=asked.latency, chances=_chances(asked.fault),
                              seed=asked.seed, runners=asked.runners)  # fmt: skip
    except ValueError as error:
        parser.error(str(error))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with simulator:
        sys.stdout.write(json.dumps({"base_url": simulator.base_url, "openai_url": simulator.openai_url}) + "\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


def _chances(words: list[str]) -> Chances:
    chances = {name: float(share) for name, _, share in (word.partition("=") for word in words)}
    if "any" not in chances:
        return {FaultKind(name): share for name, share in chances.items()}
    if len(chances) > 1:
        raise ValueError("--fault any=CHANCE stands alone")
    return chances["any"]


if __name__ == "__main__":
    sys.exit(main())
