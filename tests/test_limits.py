"""Every number has the value, and the relation to the others, that it should."""

from __future__ import annotations

import ast
import inspect

import pytest

from sage import limits

FIXED = {
    # (b), (c), (f) to (h) of the protocol: another value is another protocol.
    "DID_MAX_BYTES": 256,
    "KEY_URL_MAX_BYTES": 289,
    "JSON_MAX_BYTES": 16_777_216,
    "JSON_DEPTH_MAX": 64,
    "JSON_INTEGER_MAX": 2**53 - 1,
    "AGENT_RECORD_MAX_BYTES": 65_536,
    "WEB_RESPONSE_MAX_BYTES": 69_632,
    "WEB_RECORD_LIFETIME_MAX_S": 5,
    "OBSERVATION_MAX_AGE_S": 5,
    "NONCE_BYTES": 16,
    "FRESHNESS_WINDOW_S": 300,
    "FRESHNESS_SKEW_S": 30,
    "REPLAY_GRACE_S": 30,
    "REPLAY_QUARANTINE_S": 360,
    "HANDSHAKE_MAX_BYTES": 16_384,
    "HANDSHAKE_PENDING_S": 300,
    "GENERATION_RECORDS": 256,
    "SESSION_MAX_RECORDS": 1000,
    "SESSION_MAX_AGE_S": 3600,
    "SESSION_IDLE_S": 600,
    "SESSION_ID_BYTES": 16,
    "REPLAY_WINDOW_BITS": 1024,
    "RECORD_MIN_BYTES": 36,
    "RECORD_MAX_BYTES": 8_388_608,
    "RECORD_PLAINTEXT_MAX_BYTES": 8_388_572,
    "RECORD_AAD_FIXED_BYTES": 63,
    "RECORD_AAD_MAX_BYTES": 4096,
    "RECORD_CALLER_AAD_MAX_BYTES": 4033,
    "STREAM_GENERATION_RECORDS": 65_536,
    "STREAM_MAX_RECORDS": 2**48,
    "STREAM_RECORD_MAX_BYTES": 1_048_612,
    "STREAM_CALLER_AAD_MAX_BYTES": 255,
    "STREAM_ID_BYTES": 16,
    "MAX_FAILED_OPENS": 2**36,
    "DRAFT1_GENERATION_RECORDS": 256,
    "DRAFT1_MAX_RECORDS": 1000,
    "PAYLOAD_MAX_BYTES": 8_388_608,
    "METADATA_MAX_KEYS": 32,
    "METADATA_VALUE_MAX_BYTES": 1024,
    "METADATA_JCS_MAX_BYTES": 4096,
    "HTTP_CONTENT_MAX_BYTES": 16_777_216,
    "HTTP_HEAD_MAX_BYTES": 32_768,
    "HTTP_SIGNATURE_FIELD_MAX_BYTES": 8192,
}


def assigned_names() -> list[str]:
    """Return the names that the module assigns, in the order of the file."""
    return [
        node.target.id
        for node in ast.parse(inspect.getsource(limits)).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def test_all_is_complete_and_sorted() -> None:
    assert list(limits.__all__) == sorted(limits.__all__)
    assert set(limits.__all__) == set(assigned_names()) - {"__all__"}


@pytest.mark.parametrize(("name", "value"), FIXED.items())
def test_the_protocols_numbers(name: str, value: float) -> None:
    assert getattr(limits, name) == value


@pytest.mark.parametrize("name", limits.__all__)
def test_numbers_are_positive_and_carry_their_unit(name: str) -> None:
    value = getattr(limits, name)
    assert type(value) in (int, float)
    assert value > 0
    if isinstance(value, float):
        assert name.endswith("_S"), "only durations are fractions"
    if name.endswith("_BYTES"):
        assert isinstance(value, int)


def test_derived_numbers_agree() -> None:
    # seq, nonce; the tag makes the shortest record.
    assert limits.RECORD_HEADER_BYTES == 8 + limits.AEAD_NONCE_BYTES
    assert limits.RECORD_MIN_BYTES == limits.RECORD_HEADER_BYTES + limits.AEAD_TAG_BYTES
    # domain, transcript hash, direction, sequence, length.
    assert (
        len(b"sage-record|0.10.0") + limits.TRANSCRIPT_HASH_BYTES + 1 + 8 + 4
    ) == limits.RECORD_AAD_FIXED_BYTES
    # A lost replay state is forgotten once nothing it knew can be fresh.
    assert limits.REPLAY_QUARANTINE_S == (
        limits.FRESHNESS_WINDOW_S + limits.FRESHNESS_SKEW_S + limits.REPLAY_GRACE_S
    )
    # A DID, "#" and a key id of 32.
    assert limits.KEY_URL_MAX_BYTES == limits.DID_MAX_BYTES + 1 + 32
    # A payload and its envelope fit, in base64url.
    assert limits.PAYLOAD_MAX_BYTES * 4 // 3 < limits.ENVELOPE_MAX_BYTES


def test_ours_stay_within_the_protocols() -> None:
    assert limits.ENVELOPE_TTL_S <= limits.FRESHNESS_WINDOW_S
    assert 1 <= limits.REGISTRY_RECORD_TTL_S <= limits.WEB_RECORD_LIFETIME_MAX_S
    assert limits.SCRYPT_N <= limits.SCRYPT_N_MAX
    assert limits.SCRYPT_N & (limits.SCRYPT_N - 1) == 0
    assert limits.KEY_BLOCK_BYTES >= (
        limits.SEED_BYTES + limits.TRANSCRIPT_HASH_BYTES + 3 * limits.AEAD_KEY_BYTES
    )
    assert 2048 <= limits.RSA_KEY_MIN_BITS < limits.RSA_KEY_MAX_BITS
    assert limits.HANDSHAKE_TIMEOUT_S < limits.HANDSHAKE_PENDING_S
    assert limits.IDLE_CONNECTION_TIMEOUT_S <= limits.SESSION_IDLE_S
    assert limits.RESOLUTION_REUSE_S < limits.OBSERVATION_MAX_AGE_S
    assert limits.RESOLUTION_NEGATIVE_S <= limits.OBSERVATION_MAX_AGE_S
    assert limits.OBSERVATION_MAX_AGE_S <= limits.RESOLUTION_AGED_MAX_S


def test_a_call_into_openssl_is_looked_at_several_times_before_it_is_cut() -> None:
    assert limits.TLS_LOOK_AGAIN_S < limits.TLS_LOOK_S < limits.TLS_CALL_S
    assert limits.TLS_CALL_S >= 5 * limits.TLS_LOOK_AGAIN_S
    assert limits.TLS_CALL_S < limits.TLS_LONG_CALL_S < limits.TLS_UNMEASURED_CALL_S
    assert limits.TLS_CALL_S < limits.TURN_S


def test_no_successor_gives_way_that_the_peer_may_use() -> None:
    left_s, wait_s, tries = limits.SESSION_MAX_AGE_S - limits.RENEW_AFTER_S, 1.0, 0
    assert wait_s == limits.RENEW_RETRY_S
    while left_s >= 0:  # as if each of them failed at once
        left_s, tries = left_s - wait_s, tries + 1
        wait_s = min(2 * wait_s, limits.RENEW_RETRY_MAX_S)
    assert tries + 1 <= limits.STREAM_SUCCESSORS_MAX


def test_keys_and_compression_keep_to_what_surrounds_them() -> None:
    assert limits.PBKDF2_ITERATIONS <= limits.PBKDF2_ITERATIONS_MAX
    assert limits.KEY_FILE_MAX_BYTES <= limits.KEYSTORE_MAX_BYTES
    # No session outlives the overlap; no observation outlives the settling.
    assert limits.ROTATION_OVERLAP_S >= limits.SESSION_MAX_AGE_S
    assert limits.ROTATION_OVERLAP_MAX_S >= 100 * limits.ROTATION_OVERLAP_S
    assert limits.ROTATION_SETTLE_S >= 2 * limits.OBSERVATION_MAX_AGE_S
    assert limits.COMPRESS_MIN_BYTES <= limits.COMPRESS_INLINE_MAX_BYTES
    done_at_once = limits.COMPRESS_INLINE_MAX_BYTES * limits.DECOMPRESS_MAX_RATIO
    assert done_at_once < limits.RECORD_PLAINTEXT_MAX_BYTES
