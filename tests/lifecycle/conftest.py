"""Houses for the lifecycle tests: one of a test's own, and one that runs for the whole session."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lifecycle_house import CONFIG, House


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wl-", dir="/tmp"))  # short enough for a unix socket
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def seed() -> Iterator[Path]:
    """A home that was started once: copies of it spare initdb and the migrations."""
    house = House(_folder())
    try:
        house.start(0)
        house.ok("stop")
        for name in ("logs", "run", "state", "node.json"):
            path = house.home / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        with (house.home / "postgres" / "data" / "postgresql.auto.conf").open("a") as settings:
            settings.write("fsync = off\n")  # what was written outlives a killed server all the same
        yield house.home
    finally:
        house.clean()


@pytest.fixture
def fresh_house() -> Iterator[House]:
    """A house in which nothing was ever started."""
    house = House(_folder())
    yield house
    house.clean()


@pytest.fixture
def build(seed: Path) -> Iterator[Callable[..., House]]:
    """Makes houses whose database is there but not running; `build(config)`."""
    built: list[House] = []

    def make(config: str = CONFIG) -> House:
        house = House(_folder(), config)
        subprocess.run(["cp", "-a", seed, house.home], check=True)  # with owners: it may be nobody's
        built.append(house)
        return house

    yield make
    for house in built:
        house.clean()


@pytest.fixture(scope="module")
def build_for_module(seed: Path) -> Iterator[House]:
    """As `build`, one house for all tests of a module."""
    house = House(_folder())
    subprocess.run(["cp", "-a", seed, house.home], check=True)
    yield house
    house.clean()


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    """A house with the ordinary config, its database initialised, nothing running."""
    return build()


@pytest.fixture(scope="session")
def _standing(seed: Path) -> Iterator[House]:
    house = House(_folder(), CONFIG.replace("shipped = false", "shipped = true"))  # `log.write` is a shipped kind
    subprocess.run(["cp", "-a", seed, house.home], check=True)
    try:
        house.start(2)
        yield house
    finally:
        house.clean()


@pytest.fixture
def running(_standing: House) -> Iterator[House]:
    """The session's running supervisor with two workers, for tests that leave it as it was."""
    house = _standing
    house.gate.unlink(missing_ok=True)
    house.effects.unlink(missing_ok=True)
    yield house
    house.open_gate()
    house.until_ready(2)
