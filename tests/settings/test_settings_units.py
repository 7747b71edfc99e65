from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerctl.settings.units import duration_seconds, duration_text, size_bytes, size_text

MB = 1024 * 1024


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("500ms", 0.5), ("10s", 10), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1.5h", 5400), (" 3 s ", 3),
     (30, 30), (0.25, 0.25), (0, 0)],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(written, seconds):
    assert duration_seconds(written) == seconds


@pytest.mark.parametrize("written", ["10", "10 parsecs", "", "s", "-5s", "1e3s", "1..2s", "10S", True, None, [1],
                                     float("nan"), float("inf"), "99999999d", "٣s"])  # fmt: skip
def test_what_is_no_duration_is_refused(written):
    with pytest.raises(ValueError, match=r"duration|number|longer"):
        duration_seconds(written)


@pytest.mark.parametrize(
    ("written", "count"),
    [("500MB", 500 * MB), ("500M", 500 * MB), ("500MiB", 500 * MB), ("1.5GB", 1536 * MB), ("1.5gb", 1536 * MB),
     ("64K", 65536), ("10 KB", 10240), ("7B", 7), ("7", 7), (7, 7), ("80%", 800), ("12.5%", 125)],
)  # fmt: skip
def test_sizes_are_read_as_people_write_them(written, count):
    assert size_bytes(written, lambda: 1000) == count


@pytest.mark.parametrize("written", ["MB", "5XB", "101%", "-1MB", "", True, 1.5, None, "1e3MB"])
def test_what_is_no_size_is_refused(written):
    with pytest.raises(ValueError, match=r"size|number|more than"):
        size_bytes(written, lambda: 1000)


def test_a_share_needs_something_to_be_a_share_of():
    with pytest.raises(ValueError, match="unknown size unit '%'"):
        size_bytes("80%")


@given(st.integers(0, 10**9))
def test_what_is_written_back_reads_the_same(number):
    assert duration_seconds(duration_text(number / 1000)) == pytest.approx(number / 1000)
    assert size_bytes(size_text(number)) == number
