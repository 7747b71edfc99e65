"""What stands behind `ctx.http` in a test: a function that answers requests, a simulator, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import httpx


class Listening(Protocol):
    """A provider on this machine, such as workerctl.testing.simulator.Simulator."""

    @property
    def base_url(self) -> str: ...


Provider = Callable[["httpx.Request"], "httpx.Response"] | Listening


def client(provider: Provider | None) -> httpx.AsyncClient:
    """A client that reaches this provider and nobody else."""
    import httpx

    if provider is None or callable(provider):
        return httpx.AsyncClient(transport=httpx.MockTransport(provider or _nobody), follow_redirects=True)
    only = {provider.base_url: httpx.AsyncHTTPTransport()}
    return httpx.AsyncClient(
        mounts=only, transport=httpx.MockTransport(_nobody), trust_env=False, follow_redirects=True
    )


def _nobody(request: httpx.Request) -> httpx.Response:
    raise AssertionError(
        f"{request.method} {request.url}: no provider answers in this test; give context(..., provider=...) a function"
        " that takes an httpx.Request and returns an httpx.Response, or a Simulator"
    )
