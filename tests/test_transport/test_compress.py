"""Payloads that shrink, and what a hostile peer cannot do with them."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sage.errors import (
    Code,
    DecodeError,
    ProtocolError,
    UsageError,
)
from sage.limits import (
    COMPRESS_MIN_BYTES,
    DECOMPRESS_MAX_RATIO,
    RECORD_PLAINTEXT_MAX_BYTES,
)
from sage.transport import (
    ENCODINGS,
    compress_payload,
    decompress_payload,
    require_encodings,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROOT = Path(__file__).parents[2]
TEXT = json.dumps([{"id": n, "name": f"agent {n * n}"} for n in range(200)]).encode()

every = pytest.mark.parametrize("encoding", ENCODINGS)


def others(payload: bytes, encoding: str) -> bytes:
    """The same by the plain library, as any peer may do it."""
    if encoding == "zstd":
        return zstd.compress(payload)
    return gzip.compress(payload, 9)


def code_of(data: bytes, encoding: str, **bounds: int) -> Code:
    with pytest.raises((DecodeError, ProtocolError)) as caught:
        decompress_payload(data, encoding, **bounds)
    return caught.value.code


# --- both ways ----------------------------------------------------------------


@every
@given(seed=st.binary(min_size=1, max_size=300), times=st.integers(1, 60))
def test_what_was_compressed_comes_back(encoding: str, seed: bytes, times: int) -> None:
    payload = seed * times
    data = compress_payload(payload, encoding)
    if data is None:
        return
    assert len(data) < len(payload)
    assert decompress_payload(data, encoding) == payload


@every
def test_text_shrinks_and_the_librarys_own_frames_are_read(encoding: str) -> None:
    data = compress_payload(TEXT, encoding)
    assert data is not None
    assert len(data) < len(TEXT) // 3
    assert decompress_payload(others(TEXT, encoding), encoding) == TEXT
    plain = gzip.decompress(data) if encoding == "gzip" else zstd.decompress(data)
    assert plain == TEXT


@every
def test_what_does_not_shrink_is_left_alone(encoding: str) -> None:
    assert compress_payload(os.urandom(100_000), encoding) is None
    assert compress_payload(TEXT[: COMPRESS_MIN_BYTES - 1], encoding) is None
    assert compress_payload(TEXT[:COMPRESS_MIN_BYTES], encoding) is not None
    assert compress_payload(b"", encoding) is None


@every
def test_what_the_receiver_would_refuse_is_not_sent(encoding: str) -> None:
    payload = bytes(1_000_000)
    assert code_of(others(payload, encoding), encoding) is Code.SIZE_EXCEEDED
    assert compress_payload(payload, encoding) is None


@every
def test_many_threads_use_the_same_compressors(encoding: str) -> None:
    payloads = [TEXT[n:] for n in range(16)]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            data = compress_payload(payloads[number], encoding)
            if not data or decompress_payload(data, encoding) != payloads[number]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- bounds -------------------------------------------------------------------


@every
def test_the_bounds_are_exact(encoding: str) -> None:
    data, size = others(TEXT, encoding), len(TEXT)
    assert decompress_payload(data, encoding, max_bytes=size) == TEXT
    assert code_of(data, encoding, max_bytes=size - 1) is Code.SIZE_EXCEEDED
    ratio = -(-size // len(data))
    assert decompress_payload(data, encoding, max_ratio=ratio) == TEXT
    assert code_of(data, encoding, max_ratio=ratio - 1) is Code.SIZE_EXCEEDED


@every
def test_the_longest_payload_comes_back(encoding: str) -> None:
    payload = (TEXT * 1600)[:RECORD_PLAINTEXT_MAX_BYTES]
    data = others(payload[: RECORD_PLAINTEXT_MAX_BYTES // 2], encoding)
    ratio = RECORD_PLAINTEXT_MAX_BYTES
    whole = others(payload, encoding)
    assert decompress_payload(whole, encoding, max_ratio=ratio) == payload
    assert len(decompress_payload(data, encoding, max_ratio=ratio)) < len(payload)
    more = others(payload + b"!", encoding)
    assert code_of(more, encoding, max_ratio=ratio) is Code.SIZE_EXCEEDED


BOMB = """
import resource, sys, time
from sage.errors import DecodeError
from sage.transport import decompress_payload
data = open(sys.argv[2], "rb").read()
decompress_payload  # everything is imported before the measurement
try:
    decompress_payload(data[:100], sys.argv[1])
except DecodeError:
    pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
try:
    decompress_payload(data, sys.argv[1])
except DecodeError as exc:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(exc.code, grown, time.process_time() - started)
"""


@every
def test_a_bomb_is_refused_quickly_and_in_bounded_memory(
    encoding: str, tmp_path: Path
) -> None:
    """A GiB of zeros, in a process of its own to see what memory it takes."""
    if encoding == "zstd":
        machine = zstd.ZstdCompressor()
        feed, end = machine.compress, machine.flush
    else:
        other = zlib.compressobj(wbits=31)
        feed, end = other.compress, other.flush
    zeros = bytes(1 << 20)
    data = b"".join([*(feed(zeros) for _ in range(1024)), end()])
    assert len(data) < 2_000_000
    (tmp_path / "bomb").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOMB, encoding, tmp_path / "bomb"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    code, grown_kib, seconds = done.stdout.split()
    assert code == Code.SIZE_EXCEEDED
    assert int(grown_kib) < 40 * 1024
    assert float(seconds) < 2.0


def test_a_window_that_no_payload_needs_is_not_set_aside() -> None:
    options = {zstd.CompressionParameter.window_log: 27}
    machine = zstd.ZstdCompressor(options=options)
    data = machine.compress(os.urandom(2_000_000)) + machine.flush()
    assert code_of(data, "zstd") is Code.PAYLOAD_MALFORMED


def test_a_size_that_the_header_only_promises_is_not_believed() -> None:
    """A frame that says 8 MiB, and ends."""
    size = struct.pack("<I", RECORD_PLAINTEXT_MAX_BYTES)
    frame = b"\x28\xb5\x2f\xfd" + b"\xa0" + size
    started = time.process_time()
    assert code_of(frame, "zstd") is Code.PAYLOAD_MALFORMED
    assert time.process_time() - started < 1.0


# --- what is not one whole frame ----------------------------------------------


@every
def test_every_cut_is_refused(encoding: str) -> None:
    data = compress_payload(TEXT, encoding)
    assert data is not None
    for end in range(len(data)):
        assert code_of(data[:end], encoding) is Code.PAYLOAD_MALFORMED


@every
@pytest.mark.parametrize(
    "tail",
    [
        lambda data: b"\0",
        lambda data: data,
        lambda data: b"\x50\x2a\x4d\x18\x04\0\0\0skip",
        lambda data: bytes(512),
    ],
    ids=["byte", "second frame", "skippable", "padding"],
)
def test_nothing_may_follow(encoding: str, tail: Callable[[bytes], bytes]) -> None:
    data = others(TEXT, encoding)
    assert code_of(data + tail(data), encoding) is Code.PAYLOAD_MALFORMED


def test_nothing_may_go_before_or_stand_alone() -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip"
    for data in (b"", skippable, skippable + zstd.compress(TEXT), TEXT):
        assert code_of(data, "zstd") is Code.PAYLOAD_MALFORMED
    for data in (b"", b"\0" + gzip.compress(TEXT), TEXT, zlib.compress(TEXT)):
        assert code_of(data, "gzip") is Code.PAYLOAD_MALFORMED
    assert code_of(zstd.compress(TEXT), "gzip") is Code.PAYLOAD_MALFORMED
    assert code_of(gzip.compress(TEXT), "zstd") is Code.PAYLOAD_MALFORMED


def test_a_frame_that_needs_a_dictionary_is_refused() -> None:
    book = zstd.train_dict([TEXT[n : n + 99] for n in range(0, 6000, 9)], 1024)
    data = zstd.compress(TEXT, zstd_dict=book)
    assert code_of(data, "zstd") is Code.PAYLOAD_MALFORMED


@every
@given(place=st.integers(0, 10**6), change=st.integers(1, 255))
def test_an_altered_byte_never_gives_another_payload(
    encoding: str, place: int, change: int
) -> None:
    """The checksum sees it; a few bits of gzip's header say nothing."""
    data = bytearray(compress_payload(TEXT, encoding) or b"")
    data[place % len(data)] ^= change
    try:
        plain = decompress_payload(bytes(data), encoding)
    except DecodeError:
        return
    assert plain == TEXT


@every
@given(data=st.binary(max_size=400))
@example(data=b"\x28\xb5\x2f\xfd")
@example(data=b"\x1f\x8b\x08")
def test_any_bytes_give_a_payload_or_a_documented_error(
    encoding: str, data: bytes
) -> None:
    start = b"\x28\xb5\x2f\xfd" if encoding == "zstd" else b"\x1f\x8b\x08\x00"
    for given_bytes in (data, start + data):
        try:
            plain = decompress_payload(given_bytes, encoding)
            assert len(plain) <= DECOMPRESS_MAX_RATIO * len(given_bytes)
        except DecodeError:
            pass


# --- names --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "br", "ZSTD", "identity", "zstd,gzip"])
def test_unknown_encodings(name: str) -> None:
    assert code_of(b"x", name) is Code.PAYLOAD_ENCODING
    with pytest.raises(UsageError):
        compress_payload(b"x", name)
    with pytest.raises(UsageError):
        require_encodings((name,))


def test_encodings_that_can_be_used() -> None:
    assert require_encodings(()) == ()
    assert require_encodings(["gzip", "zstd"]) == ("gzip", "zstd")
    for wrong in ("zstd", ("gzip", "gzip")):
        with pytest.raises(UsageError):
            require_encodings(wrong)


@pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"max_ratio": 0}])
def test_bounds_are_positive(bounds: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        decompress_payload(b"x", "gzip", **bounds)


def test_without_the_extra_only_zstd_is_missing() -> None:
    code = """
import sys
sys.modules["backports"] = sys.modules["compression"] = None
from sage.errors import ConfigError
from sage.transport import compress_payload, require_encodings
assert compress_payload(b"a" * 500 + bytes(range(256)) * 9, "gzip")
text = b"a" * 2000
for call, args in ((require_encodings, [["zstd"]]), (compress_payload, [text, "zstd"])):
    try:
        call(*args)
    except ConfigError as exc:
        assert "sage-secure[zstd]" in str(exc)
        print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused", "refused"]
