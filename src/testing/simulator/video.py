"""Writes a small playable MP4: pictures coded as JPEG, one after the other. Pure."""

from __future__ import annotations

import struct

from .render import encoded, picture

FRAMES_PER_SECOND = 8
TIMESCALE = 1000
UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)  # shown as it is: no turn, no scale
MPEG4_JPEG = 0x6C  # the object type of JPEG pictures in an MPEG-4 container


def video(prompt: str, seed: int, width: int, height: int, seconds: float) -> bytes:
    """An MP4 of this size and length; each frame is a picture of its own, so that a decoder's work can be seen."""
    count = max(1, round(seconds * FRAMES_PER_SECOND))
    frames = [encoded(picture(prompt, seed + number, width, height), "jpeg") for number in range(count)]
    kind = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isommp41")
    sizes = [len(frame) for frame in frames]
    moov = _moov(width, height, sizes, first_byte=0)
    moov = _moov(width, height, sizes, first_byte=len(kind) + len(moov) + 8)
    return kind + moov + _box(b"mdat", *frames)


def _moov(width: int, height: int, sizes: list[int], first_byte: int) -> bytes:
    frame = TIMESCALE // FRAMES_PER_SECOND
    duration = frame * len(sizes)
    movie = _full(b"mvhd", struct.pack(">4I", 0, 0, TIMESCALE, duration),
                  struct.pack(">IHxx8x", 0x10000, 0x100), UNITY, bytes(24), struct.pack(">I", 2))  # fmt: skip
    track = _full(b"tkhd", struct.pack(">5I", 0, 0, 1, 0, duration), bytes(16), UNITY,
                  struct.pack(">II", width << 16, height << 16), flags=3)  # fmt: skip
    media = _full(b"mdhd", struct.pack(">4I", 0, 0, TIMESCALE, duration), struct.pack(">HH", 0x55C4, 0))
    handler = _full(b"hdlr", struct.pack(">I", 0), b"vide", bytes(12), b"video\0")
    where = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1)))
    table = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), _sample_entry(width, height)),
        _full(b"stts", struct.pack(">3I", 1, len(sizes), frame)),
        _full(b"stsc", struct.pack(">4I", 1, 1, len(sizes), 1)),
        _full(b"stsz", struct.pack(">2I", 0, len(sizes)), *(struct.pack(">I", size) for size in sizes)),
        _full(b"stco", struct.pack(">2I", 1, first_byte)),
    )
    described = _box(b"minf", _full(b"vmhd", bytes(8), flags=1), where, table)
    return _box(b"moov", movie, _box(b"trak", track, _box(b"mdia", media, handler, described)))


def _sample_entry(width: int, height: int) -> bytes:
    decoder = _descriptor(4, struct.pack(">BBxxxII", MPEG4_JPEG, 0x11, 0, 0))
    stream = _full(b"esds", _descriptor(3, struct.pack(">HB", 1, 0), decoder, _descriptor(6, b"\x02")))
    fixed = struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 0x480000, 0x480000, 0, 1, 24, -1)
    return _box(b"mp4v", fixed, stream)


def _box(name: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", len(content) + 8) + name + content


def _full(name: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(name, struct.pack(">I", flags), *parts)


def _descriptor(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">BB", tag, len(content)) + content
