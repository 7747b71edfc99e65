"""The demo's remote provider: the simulator, and settings that send the pictures there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ..settings import Loaded
    from ..settings.providers import ProviderSettings
    from ..testing.simulator import Simulator

LATENCY = "1..3"  # seconds a picture, as a quick real one takes
FAULT_SHARE = 0.03  # of each of these kinds
FAULTS = ("rate_limited", "server_error", "reset", "half_body", "wrong_type", "not_an_image")
RETRY_SECONDS = 1.0
MODEL = "gpt-image-2"
KEY_VARIABLE = "WORKERCTL_DEMO_KEY"


@contextmanager
def simulated() -> Iterator[Simulator]:
    """A simulator that lives as long as the demo; its workers find its key in their environment."""
    from ..testing.simulator import FaultKind, Simulator

    chances = {FaultKind(name): FAULT_SHARE for name in FAULTS}
    with Simulator(latency=LATENCY, chances=chances, seed=208) as provider:
        os.environ[KEY_VARIABLE] = provider.key
        try:
            yield provider
        finally:
            del os.environ[KEY_VARIABLE]


def with_images_from(provider: Simulator, found: Loaded) -> Loaded:
    """The same settings, but the kinds `image.*` are served by the simulator, and tried again soon."""
    from ..settings.providers import ProviderSettings

    served = ProviderSettings(
        type="openai", kinds=("image",), base_url=provider.openai_url, api_key_variable=KEY_VARIABLE, model=MODEL,
        price_image=0.042, read_timeout_seconds=10.0,
    )  # fmt: skip
    others = {name: one for name, one in found.settings.providers.items() if not _serves_images(one)}
    jobs = msgspec.structs.replace(found.settings.jobs, retry_delay_seconds=RETRY_SECONDS)
    settings = msgspec.structs.replace(found.settings, jobs=jobs, providers={**others, "simulator": served})
    return msgspec.structs.replace(found, settings=settings)


def bill(provider: Simulator) -> list[str]:
    """What the provider would ask for, in words."""
    ledger = provider.ledger.summary()
    faults = [fault for entry in provider.ledger.entries for fault in entry.faults]
    repeats = sum(entry.repeats for entry in provider.ledger.entries)
    return [
        f"provider: {ledger['requests']} requests, {ledger['paid_images']} pictures paid, ${ledger['cost_usd']:.2f}",
        f"  faults      {', '.join(sorted(faults)) or 'none'}",
        f"  asked again {repeats} under the same key, not paid again",
    ]


def _serves_images(provider: ProviderSettings) -> bool:
    return any(kind.partition(".")[0] == "image" for kind in provider.kinds)
