"""A fresh home for each test, and nothing of it alive afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_house import House

pytest.register_assert_rewrite("toy_checks")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.clean()
