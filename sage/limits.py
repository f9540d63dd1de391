"""Every number of the system: its unit, its source, and who may change it.

The first part is fixed by the protocol (V10, 0.10.0): another value is another
protocol. The second part is ours: chosen, changeable, with the reason beside it.
"""

from __future__ import annotations

from typing import Final

__all__: Final = [
    "ACK_TAG_BYTES",
    "AEAD_KEY_BYTES",
    "AEAD_NONCE_BYTES",
    "AEAD_TAG_BYTES",
    "AGENT_RECORD_MAX_BYTES",
    "AGENT_RECORD_MAX_KEYS",
    "AGENT_RECORD_MAX_SERVICES",
    "AGENT_RECORD_VERSION_MAX",
    "BATCH_MAX_THREADS",
    "BUFFERS_KEPT_MAX_BYTES",
    "BUFFER_MAX_BYTES",
    "BUFFER_MIN_BYTES",
    "CLOSE_TIMEOUT_S",
    "COMPRESSORS_KEPT",
    "COMPRESS_INLINE_MAX_BYTES",
    "COMPRESS_MIN_BYTES",
    "CONNECT_TIMEOUT_S",
    "DECOMPRESS_MAX_RATIO",
    "DID_MAX_BYTES",
    "DRAFT1_CALLER_AAD_MAX_BYTES",
    "DRAFT1_GENERATION_RECORDS",
    "DRAFT1_MAX_RECORDS",
    "ED25519_KEY_BYTES",
    "ED25519_SIGNATURE_BYTES",
    "ENVELOPE_MAX_BYTES",
    "ENVELOPE_TTL_S",
    "EVICTION_CANDIDATES",
    "EXPIRY_TICK_S",
    "FIRST_MESSAGE_TIMEOUT_S",
    "FRESHNESS_SKEW_S",
    "FRESHNESS_WINDOW_S",
    "GENERATION_RECORDS",
    "HANDSHAKE_MAX_BYTES",
    "HANDSHAKE_PENDING_S",
    "HANDSHAKE_TIMEOUT_S",
    "HEADERS_READY",
    "HMAC_KEY_MIN_BYTES",
    "HTTPS_BODIES_MAX_BYTES",
    "HTTPS_IDLE_S",
    "HTTPS_KEEP_ALIVE_S",
    "HTTPS_MAX_CONNECTIONS",
    "HTTPS_MAX_HANDSHAKES",
    "HTTPS_MAX_PER_HOST",
    "HTTPS_MAX_REQUESTS",
    "HTTPS_MAX_SESSIONS",
    "HTTPS_MAX_SESSIONS_PER_PEER",
    "HTTPS_POOL_TIMEOUT_S",
    "HTTPS_READ_TIMEOUT_S",
    "HTTP_CONTENT_MAX_BYTES",
    "HTTP_HEAD_MAX_BYTES",
    "HTTP_PARSED_CACHE_ENTRIES",
    "HTTP_PARSED_CACHE_TEXT_MAX",
    "HTTP_SIGNATURE_FIELD_MAX_BYTES",
    "HTTP_STRUCTURED_MAX_BYTES",
    "IDLE_CONNECTION_TIMEOUT_S",
    "JSON_DEPTH_MAX",
    "JSON_INTEGER_MAX",
    "JSON_MAX_BYTES",
    "KEYSTORE_MAX_BYTES",
    "KEY_BLOCK_BYTES",
    "KEY_FILE_MAX_BYTES",
    "KEY_URL_MAX_BYTES",
    "LIVENESS_TIMEOUT_S",
    "MANAGER_MAX_SESSIONS",
    "MAX_BYTES_IN_FLIGHT",
    "MAX_CONNECTIONS",
    "MAX_FAILED_OPENS",
    "MAX_REQUESTS_IN_FLIGHT",
    "MAX_SESSIONS_IN_USE",
    "MAX_SESSIONS_PER_CONNECTION",
    "MESSAGE_COST_BYTES",
    "MESSAGE_QUEUE_BYTES",
    "METADATA_JCS_MAX_BYTES",
    "METADATA_MAX_KEYS",
    "METADATA_VALUE_MAX_BYTES",
    "NONCE_BYTES",
    "OBSERVATION_MAX_AGE_S",
    "PARSED_NAME_CACHE_ENTRIES",
    "PAYLOAD_MAX_BYTES",
    "PBKDF2_ITERATIONS",
    "PBKDF2_ITERATIONS_MAX",
    "PBKDF2_SALT_BYTES",
    "PING_INTERVAL_S",
    "POOL_ATTEMPTS",
    "POOL_CHECK_AFTER_S",
    "POOL_IDLE_S",
    "POOL_MAX_CHANNELS",
    "POOL_MAX_PER_ENDPOINT",
    "POOL_SHARED_REQUESTS",
    "POOL_WAIT_S",
    "PROFILES_READY_MAX",
    "PUBLIC_KEY_CACHE_ENTRIES",
    "READINESS_AGE_S",
    "READINESS_TIMEOUT_S",
    "RECONNECT_MAX_S",
    "RECONNECT_S",
    "RECORD_AAD_FIXED_BYTES",
    "RECORD_AAD_MAX_BYTES",
    "RECORD_CALLER_AAD_MAX_BYTES",
    "RECORD_HEADER_BYTES",
    "RECORD_MAX_BYTES",
    "RECORD_MIN_BYTES",
    "RECORD_PLAINTEXT_MAX_BYTES",
    "REDIS_CONNECTIONS",
    "REDIS_INSPECT_S",
    "REDIS_TIMEOUT_S",
    "REGISTRY_RECORD_TTL_S",
    "RENEW_AFTER_RECORDS",
    "RENEW_AFTER_S",
    "RENEW_RETRY_MAX_S",
    "RENEW_RETRY_S",
    "REPLAY_GRACE_S",
    "REPLAY_GUARD_ENTRIES",
    "REPLAY_QUARANTINE_S",
    "REPLAY_WINDOW_BITS",
    "REQUEST_TIMEOUT_S",
    "RESOLUTION_AGED_MAX_S",
    "RESOLUTION_CACHE_ENTRIES",
    "RESOLUTION_NEGATIVE_S",
    "RESOLUTION_READS_MAX",
    "RESOLUTION_REUSE_S",
    "RESOLVE_TIMEOUT_S",
    "ROTATION_OVERLAP_MAX_S",
    "ROTATION_OVERLAP_S",
    "ROTATION_SETTLE_S",
    "RSA_KEY_MAX_BITS",
    "RSA_KEY_MIN_BITS",
    "SCRAPE_TIMEOUT_S",
    "SCRYPT_N",
    "SCRYPT_N_MAX",
    "SCRYPT_P",
    "SCRYPT_R",
    "SCRYPT_SALT_BYTES",
    "SEED_BYTES",
    "SEND_TIMEOUT_S",
    "SESSION_IDLE_S",
    "SESSION_ID_BYTES",
    "SESSION_MAX_AGE_S",
    "SESSION_MAX_RECORDS",
    "SIGNATURE_COMPONENTS_MAX",
    "STOP_TIMEOUT_S",
    "STREAM_CALLER_AAD_MAX_BYTES",
    "STREAM_GENERATION_RECORDS",
    "STREAM_ID_BYTES",
    "STREAM_MAX_RECORDS",
    "STREAM_QUEUE_BYTES",
    "STREAM_QUEUE_RECORDS",
    "STREAM_RECORD_MAX_BYTES",
    "STREAM_RENEW_AFTER_RECORDS",
    "STREAM_SUCCESSORS_MAX",
    "TLS_CALL_S",
    "TLS_LONG_CALL_S",
    "TLS_LOOK_AGAIN_S",
    "TLS_LOOK_S",
    "TLS_RECORD_MAX_BYTES",
    "TLS_SEND_MAX_BYTES",
    "TLS_UNMEASURED_CALL_S",
    "TRANSCRIPT_HASH_BYTES",
    "TURN_S",
    "UNAUTHENTICATED_MAX_BYTES",
    "VERSION_FLOOR_AGENTS",
    "WARM_SESSIONS",
    "WEB_RECORD_LIFETIME_MAX_S",
    "WEB_RECORD_LIFETIME_MIN_S",
    "WEB_RESPONSE_MAX_BYTES",
    "WRITE_BUFFER_HIGH_BYTES",
    "WRITE_BUFFER_LOW_BYTES",
    "WRITE_GAP_S",
    "X25519_KEY_BYTES",
]

# --- fixed by the protocol ----------------------------------------------------

# Primitives (RFC 8032, RFC 7748, RFC 8439).
ED25519_KEY_BYTES: Final = 32
ED25519_SIGNATURE_BYTES: Final = 64
X25519_KEY_BYTES: Final = 32
AEAD_KEY_BYTES: Final = 32
AEAD_NONCE_BYTES: Final = 12
AEAD_TAG_BYTES: Final = 16
ACK_TAG_BYTES: Final = 32

# Names (ID-01).
DID_MAX_BYTES: Final = 256
KEY_URL_MAX_BYTES: Final = 289

# JSON (JCS-01..04).
JSON_MAX_BYTES: Final = 16 * 1024 * 1024
JSON_DEPTH_MAX: Final = 64
JSON_INTEGER_MAX: Final = 9_007_199_254_740_991

# Agent records and their publication (REG-01..08).
AGENT_RECORD_MAX_BYTES: Final = 65_536
AGENT_RECORD_MAX_KEYS: Final = 128
AGENT_RECORD_MAX_SERVICES: Final = 16
AGENT_RECORD_VERSION_MAX: Final = 2**64 - 1
WEB_RESPONSE_MAX_BYTES: Final = 69_632
WEB_RECORD_LIFETIME_MIN_S: Final = 1
WEB_RECORD_LIFETIME_MAX_S: Final = 5
OBSERVATION_MAX_AGE_S: Final = 5.0

# Freshness and replay (MSG-04, MSG-05).
NONCE_BYTES: Final = 16
FRESHNESS_WINDOW_S: Final = 300
FRESHNESS_SKEW_S: Final = 30
REPLAY_GRACE_S: Final = 30
REPLAY_QUARANTINE_S: Final = 360

# Handshake (HPKE-01..06).
HANDSHAKE_MAX_BYTES: Final = 16 * 1024
HANDSHAKE_PENDING_S: Final = 300.0

# Session (SESSION-01..06).
SEED_BYTES: Final = 32
TRANSCRIPT_HASH_BYTES: Final = 32
SESSION_ID_BYTES: Final = 16
GENERATION_RECORDS: Final = 256
SESSION_MAX_RECORDS: Final = 1000
SESSION_MAX_AGE_S: Final = 3600.0
SESSION_IDLE_S: Final = 600.0
REPLAY_WINDOW_BITS: Final = 1024
RECORD_HEADER_BYTES: Final = 20
RECORD_MIN_BYTES: Final = 36
RECORD_MAX_BYTES: Final = 8 * 1024 * 1024
RECORD_PLAINTEXT_MAX_BYTES: Final = RECORD_MAX_BYTES - RECORD_MIN_BYTES
RECORD_AAD_FIXED_BYTES: Final = 63
RECORD_AAD_MAX_BYTES: Final = 4096
RECORD_CALLER_AAD_MAX_BYTES: Final = RECORD_AAD_MAX_BYTES - RECORD_AAD_FIXED_BYTES

# Where a session of any kind ends for good: how many records may fail to verify
# before what the tags prove is worth less than it should be (RFC 9001, 6.6).
MAX_FAILED_OPENS: Final = 2**36

# Sessions of 1.0.0-draft.1.
DRAFT1_GENERATION_RECORDS: Final = 256
DRAFT1_MAX_RECORDS: Final = 1000

# Streams: this project's own extension.
STREAM_ID_BYTES: Final = 16
STREAM_GENERATION_RECORDS: Final = 65_536
STREAM_MAX_RECORDS: Final = 2**48
STREAM_RECORD_MAX_BYTES: Final = 1024 * 1024 + RECORD_MIN_BYTES
STREAM_CALLER_AAD_MAX_BYTES: Final = 255

# Envelope (TRANSPORT-01..06).
ENVELOPE_MAX_BYTES: Final = JSON_MAX_BYTES
PAYLOAD_MAX_BYTES: Final = 8 * 1024 * 1024
METADATA_MAX_KEYS: Final = 32
METADATA_VALUE_MAX_BYTES: Final = 1024
METADATA_JCS_MAX_BYTES: Final = 4096

# Signed HTTP (MSG-04); all fields together: HTTP_HEAD_MAX_BYTES.
HTTP_CONTENT_MAX_BYTES: Final = 16 * 1024 * 1024
HTTP_SIGNATURE_FIELD_MAX_BYTES: Final = 8 * 1024

# --- ours ---------------------------------------------------------------------

# All secret material of a session, one block: seed, transcript hash, key out,
# key in, key in of the previous generation, scratch.
KEY_BLOCK_BYTES: Final = 192

# The draft names no limit; with the sequence before it this is 4,096 as in V10.
DRAFT1_CALLER_AAD_MAX_BYTES: Final = 4088

# How many sessions keep the engine's contexts (2 KB each, up to three a session).
# One that is used after so many others makes them anew, in 1.5 µs each.
WARM_SESSIONS: Final = 128

# What is worked out of a profile, a kilobyte, is kept for the next session of it.
PROFILES_READY_MAX: Final = 64

# Sequence numbers, from 0 on, whose headers the pure twin has ready for every session:
# all of 0.10.0, and where a stream begins. They take 110 KB.
HEADERS_READY: Final = 1024

# Threads that may be asked to work on one batch.
BATCH_MAX_THREADS: Final = 64

# Buffers to work in: five sizes, each four times the one before, and what a pool
# keeps of them at most while nobody uses it.
BUFFER_MIN_BYTES: Final = 1024
BUFFER_MAX_BYTES: Final = 256 * 1024
BUFFERS_KEPT_MAX_BYTES: Final = 4 * 1024 * 1024

# A session manager: a million sessions are 0.8 GB. A second is fine enough for lives
# of minutes. Among so many sessions a full manager looks for one that was not used.
MANAGER_MAX_SESSIONS: Final = 1_000_000
EXPIRY_TICK_S: Final = 1.0
EVICTION_CANDIDATES: Final = 64

# How long what we send stays valid. A minute covers skew and slow links, and
# keeps the replay guard six times smaller than the permitted 300 s would.
ENVELOPE_TTL_S: Final = 60

# One loaded key is about 200 bytes; the Ed25519 subgroup check behind it costs
# milliseconds, so a gateway with thousands of peers should not repeat it.
PUBLIC_KEY_CACHE_ENTRIES: Final = 4096

# A message names its sender a dozen times; 300 bytes an entry, successes only.
PARSED_NAME_CACHE_ENTRIES: Final = 4096

# Two entries (id, nonce) or three (sequence) for each message of the last
# freshness window: 1,000,000 carry about 1,000 messages a second at 300 s.
REPLAY_GUARD_ENTRIES: Final = 1_000_000

# scrypt for agent files: 128 MiB and about half a second (RFC 7914, section 2;
# the OWASP minimum). The maximum bounds what a hostile file can make us spend.
SCRYPT_N: Final = 2**17
SCRYPT_N_MAX: Final = 2**20
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
SCRYPT_SALT_BYTES: Final = 16
KEYSTORE_MAX_BYTES: Final = 1024 * 1024

# Private keys as encrypted PKCS#8, which most tools read with PBKDF2 only: 600,000
# times HMAC-SHA-256 (OWASP) is a fifth of a second. The maximum bounds what a hostile
# file can make us spend to about three seconds.
PBKDF2_ITERATIONS: Final = 600_000
PBKDF2_ITERATIONS_MAX: Final = 10_000_000
PBKDF2_SALT_BYTES: Final = 16

# A key, in whatever form, is a few hundred bytes.
KEY_FILE_MAX_BYTES: Final = 16 * 1024

# A key rotation. Ten seconds after a record was published nobody acts on an older one:
# an observation is good for five, and an operation may take five to make it. A session
# pins the keys that it was made with, for an hour at most. After a year, an old pair
# is not one that is about to go.
ROTATION_SETTLE_S: Final = 10
ROTATION_OVERLAP_S: Final = 3600
ROTATION_OVERLAP_MAX_S: Final = 31_536_000

# Every wait has an end.
CONNECT_TIMEOUT_S: Final = 10.0
RESOLVE_TIMEOUT_S: Final = 5.0
HANDSHAKE_TIMEOUT_S: Final = 10.0
REQUEST_TIMEOUT_S: Final = 30.0
SEND_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 0.8
# For the answers that are under way when a server stops. Container runtimes kill after
# ten seconds.
STOP_TIMEOUT_S: Final = 8.0
LIVENESS_TIMEOUT_S: Final = 3.0
FIRST_MESSAGE_TIMEOUT_S: Final = 10.0
IDLE_CONNECTION_TIMEOUT_S: Final = SESSION_IDLE_S

# What one service holds at most. A connection that has not proven anything may
# cost one socket, not memory: see IDLE_CONNECTION_TIMEOUT_S and below. A channel uses
# no more than four sessions at a time; the others are handshakes that it gave up.
MAX_CONNECTIONS: Final = 10_000
MAX_SESSIONS_PER_CONNECTION: Final = 8
MAX_SESSIONS_IN_USE: Final = 4
MAX_REQUESTS_IN_FLIGHT: Final = 64

# A probe of readiness gets an answer that is at most a second old, so that a flood of
# probes asks nothing of the registry; and a scrape whose collectors are slow is given
# up before Prometheus' own default of 10 s.
READINESS_AGE_S: Final = 1.0
READINESS_TIMEOUT_S: Final = 3.0
SCRAPE_TIMEOUT_S: Final = 8.0
# Of messages that a service works on, over all connections: four of the longest. What
# is made of a message, decoded, opened and answered, is four times its size.
MAX_BYTES_IN_FLIGHT: Final = 64 * 1024 * 1024

# A channel makes its next session beside the running one, with 100 records or five
# minutes to spare: time for several attempts. The retries double from a second.
RENEW_AFTER_RECORDS: Final = 900
RENEW_AFTER_S: Final = 3300.0
RENEW_RETRY_S: Final = 1.0
RENEW_RETRY_MAX_S: Final = 30.0

# What one connection holds below the application: messages that wait to be received,
# each counted with what its object costs, and bytes that the peer has not read.
# Between the two marks the writer waits. Less would put the ends out of step.
MESSAGE_QUEUE_BYTES: Final = 64 * 1024
MESSAGE_COST_BYTES: Final = 256
WRITE_BUFFER_HIGH_BYTES: Final = 64 * 1024
WRITE_BUFFER_LOW_BYTES: Final = 16 * 1024

# Writes that follow each other faster leave together. A record of a stream is sealed
# in some microseconds, an answer signed in some hundred.
WRITE_GAP_S: Final = 50e-6

# The most that one record of TLS carries (RFC 8446, section 5.1).
TLS_RECORD_MAX_BYTES: Final = 16 * 1024

# What one call into OpenSSL may cost, in seconds for which the thread computes, and how
# often it is looked at. A record is opened in 20 µs, and in two milliseconds where the
# machine is slow; whoever lets a call read on and on is no honest peer. A handshake
# signs: with RSA of 4096 bits in 4 ms, and in twenty times that. A call that sends is
# bounded by what it is given. Where the system does not tell what a thread computes,
# the time that passes has to do, and there may be other work in it.
TLS_CALL_S: Final = 0.01
TLS_LONG_CALL_S: Final = 0.1
TLS_UNMEASURED_CALL_S: Final = 0.5
TLS_LOOK_S: Final = 0.005
TLS_LOOK_AGAIN_S: Final = 0.002
TLS_SEND_MAX_BYTES: Final = 256 * 1024

# For how long the connections of a loop are read before its timers and its newcomers
# get their turn. A pause of so much is noticed by nobody, and where thousands have
# something to say, it is long enough to have heard many.
TURN_S: Final = 0.025

# Middleboxes forget connections that are silent; most wait for a minute or more.
PING_INTERVAL_S: Final = 20.0

# What a stream holds for an application that does not receive; then the socket is
# not read, and TCP stops the sender. 4 MiB are four of the longest records.
STREAM_QUEUE_RECORDS: Final = 256
STREAM_QUEUE_BYTES: Final = 4 * 1024 * 1024

# A stream's records last for ever (2^48): it is renewed for its age alone. Of more
# successors that the peer has not used, the oldest gives way. One is the last that both
# ends know of; a renewal whose answer is lost leaves another that one end may use, and
# between RENEW_AFTER_S and the session's end there is time for 14 of those.
STREAM_RENEW_AFTER_RECORDS: Final = 2**40
STREAM_SUCCESSORS_MAX: Final = 16

# Compression. Below 1 KiB little is won. Prose, source, logs and rows of JSON shrank
# 2.5 to 65 times in a trial: what grows beyond 100 times its length is none of those,
# and a peer pays at least 84 KB for the 8 MiB that it can make us hold. Up to 16 KiB,
# which is 1.6 MiB at that ratio, the work is done at once; more goes to a thread. A
# compressor of zstd keeps up to 4 MB.
COMPRESS_MIN_BYTES: Final = 1024
COMPRESS_INLINE_MAX_BYTES: Final = 16 * 1024
COMPRESSORS_KEPT: Final = 4
DECOMPRESS_MAX_RATIO: Final = 100

# A handshake's envelope is at most 16 KiB of payload in base64url, 4 KiB of
# metadata and names: nobody needs more before having proven who they are.
UNAUTHENTICATED_MAX_BYTES: Final = 64 * 1024

# All header fields of a request together (MSG-04 allows as much).
HTTP_HEAD_MAX_BYTES: Final = 32 * 1024

# The HTTPS client. A hundred connections in all and ten to a host leave room for ten
# busy services; 90 s is how long common proxies keep an idle one at least.
HTTPS_MAX_CONNECTIONS: Final = 100
HTTPS_MAX_PER_HOST: Final = 10
HTTPS_IDLE_S: Final = 90.0
HTTPS_POOL_TIMEOUT_S: Final = 10.0
HTTPS_READ_TIMEOUT_S: Final = REQUEST_TIMEOUT_S

# The HTTPS service. Its sessions belong to no connection, so they are counted in all,
# for each peer, and apart where nobody has used them yet. Bodies are read whole before
# their digest is compared: sixteen of the longest at once, four of them of one peer. A
# connection of a known peer may be idle for longer than clients keep one, so that none
# is closed under a request.
HTTPS_MAX_REQUESTS: Final = 1024
HTTPS_MAX_SESSIONS: Final = 10_000
HTTPS_MAX_SESSIONS_PER_PEER: Final = 64
HTTPS_MAX_HANDSHAKES: Final = 1024
HTTPS_BODIES_MAX_BYTES: Final = 16 * ENVELOPE_MAX_BYTES
HTTPS_KEEP_ALIVE_S: Final = HTTPS_IDLE_S + 5.0

# A pool of channels. Sixteen requests keep the arithmetic of both ends busy, so that
# a second channel to one endpoint pays only above them. A channel that paused for ten
# seconds may have lost its connection without a sign.
POOL_MAX_CHANNELS: Final = 100
POOL_MAX_PER_ENDPOINT: Final = 4
POOL_SHARED_REQUESTS: Final = 16
POOL_WAIT_S: Final = 15.0
POOL_IDLE_S: Final = 90.0
POOL_CHECK_AFTER_S: Final = 10.0
POOL_ATTEMPTS: Final = 3

# Reconnecting: full jitter under a bound that doubles (a second for most is soon
# enough, and half a minute spreads a thousand clients to some thirty a second).
RECONNECT_S: Final = 0.5
RECONNECT_MAX_S: Final = 30.0

# What a registry promises with each answer; the protocol allows 1 to 5.
REGISTRY_RECORD_TTL_S: Final = 5

# Of one signature. RFC 9421's longest example has eight; what a covered component may
# cost to look up (a field parsed, a query taken apart) is bounded by their number.
SIGNATURE_COMPONENTS_MAX: Final = 64

# What may be parsed for the components of one message that are covered as structured
# (`;sf`, `;key`). A stranger chooses them, and each byte can take three microseconds,
# several times what any other of a head costs: no more than a few such fields need.
HTTP_STRUCTURED_MAX_BYTES: Final = 4 * 1024

# Parsed Signature-Input fields and component lists. A field of 8 KiB can take 300 KiB
# once it is parsed, and it is a stranger's: only those of at most 1 KiB, which is three
# times what one signature needs, are kept, so that all of them stay below 20 MiB.
HTTP_PARSED_CACHE_ENTRIES: Final = 512
HTTP_PARSED_CACHE_TEXT_MAX: Final = 1024

# Below 2048 bits RSA is broken within reach (NIST SP 800-131A); above 8192 one
# verification costs a millisecond and nobody gains by it.
RSA_KEY_MIN_BITS: Final = 2048
RSA_KEY_MAX_BITS: Final = 8192

# A secret shorter than the hash weakens HMAC (RFC 2104, section 3).
HMAC_KEY_MIN_BYTES: Final = 32
# What a caching resolver reuses. A reading serves V10 operations for four of the five
# seconds, so that it is still good at their final gate a second later; whoever verifies
# signed HTTP may ask for an older one, of five minutes at most. That an agent is not
# there is believed for a second: it may just have been published.
RESOLUTION_REUSE_S: Final = 4.0
RESOLUTION_AGED_MAX_S: Final = 300.0
RESOLUTION_NEGATIVE_S: Final = 1.0

# Records are some 4 KB in memory each, 150 KB at their largest. As many names that are
# not there are kept apart. Of reads that are under way there is an end, too: whoever
# names unknown agents costs us one connection each.
RESOLUTION_CACHE_ENTRIES: Final = 4096
RESOLUTION_READS_MAX: Final = 256

# Agents whose highest version is remembered, some 150 bytes of disk each.
VERSION_FLOOR_AGENTS: Final = 1_000_000

# A reservation on Redis takes 0.2 ms. One that takes a second waits behind something
# broken. Every ten seconds we look whether the server still keeps what it is given.
REDIS_TIMEOUT_S: Final = 1.0
REDIS_CONNECTIONS: Final = 32
REDIS_INSPECT_S: Final = 10.0
