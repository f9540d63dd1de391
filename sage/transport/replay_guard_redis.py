"""A replay guard on Redis or Valkey: one memory for all processes of a service.

Everything that an envelope uses up is looked up and written by one script, which the
server runs from end to end before it does anything else. Of two processes that get the
same nonce at the same moment, one is told no.

**Time** is the server's: entries live there, to the second ``expires`` + 30, and are
judged by the same clock. Ours must agree with it within 30 s.

**What was lost is noticed**, in the same step, by what stands in a hash beside the
entries, and ends in the quarantine of 360 s for everybody:

* The hash is gone (flushed, another database, a server that restarted empty).
* The server is another run (its ``run_id``), and the one before did not write every
  reservation to its disk before it answered. It did where it ran with ``appendonly
  yes`` and ``appendfsync always``, as a master without replicas; then a restart,
  crashes included, costs nothing.
* The count of reservations is lower than one that we have seen (an older copy).
* The server's clock was set back by more than 30 s.

**What is not noticed**: a clock that is set forward and back again between two
reservations, and a failover whose lost writes nobody saw, to a server that says that
it is the same run. The second does not happen with Redis or Valkey.

**It fails closed.** Whatever keeps it from an answer is a typed error, and nothing
passes. When the answer itself was lost, the reservation may stand: the sender must
make a new envelope. The next call tries again, so all of it ends by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from typing import Any, Final

from redis import exceptions as errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..envelope.replay_guard import Reservation, check_unix_time, replayed
from ..errors import Code, ConfigError, Overloaded, StaleError, UsageError
from ..limits import (
    FRESHNESS_SKEW_S,
    FRESHNESS_WINDOW_S,
    REDIS_CONNECTIONS,
    REDIS_INSPECT_S,
    REDIS_TIMEOUT_S,
    REPLAY_QUARANTINE_S,
)
from ..runtime.bounds import check_limit
from ..runtime.parts import check_can

__all__ = ["RedisReplayGuard"]


class RedisReplayGuard:
    """Remembers on a Redis or Valkey server, for all processes that use it.

    For one event loop. The server must never evict (``maxmemory-policy noeviction``):
    where it would, everything is refused.
    """

    def __init__(
        self,
        server: str | Redis,
        *,
        prefix: str = "sage:replay",
        assume_no_history: bool = False,
        timeout_s: float = REDIS_TIMEOUT_S,
    ) -> None:
        """Name the server; nothing is asked of it before the first `reserve`.

        Args:
            server: ``redis://``, ``rediss://`` (TLS) or ``unix://`` with everything
                in it; or a client of one's own, which is not closed with the guard.
            prefix: of all keys; the same for all processes of one service.
            assume_no_history: if the server has never heard of this prefix, neither
                has the identity, or the caller accepts that plain envelopes of the
                last 300 s can be played to it again. No quarantine, then. Say so
                once, when the identity is made: said at every start, it also covers
                up that the server was emptied.
            timeout_s: for one reservation, connecting included.

        Raises:
            UsageError: neither a URL of such a server nor a client, no text as a
                prefix, or a time limit that is none.
        """
        check_limit(timeout_s)
        if not timeout_s > 0:
            raise UsageError("timeout_s must be positive")
        self._ours = isinstance(server, str)
        if not self._ours:
            check_can(server, "evalsha", "server")
        self._client = _connect(server) if isinstance(server, str) else server
        try:
            self._prefix = prefix.encode() + b":"
        except (AttributeError, UnicodeEncodeError) as exc:
            raise UsageError("prefix must be text that has an UTF-8 form") from exc
        self._assume_no_history = assume_no_history
        self._timeout_s = timeout_s
        self._closed = False
        self._calls: set[asyncio.Task[list[str]]] = set()
        self._closing: asyncio.Task[None] | None = None
        # What we know of the server: when it was inspected, whether it keeps what it
        # is given, and the last count of reservations in which of its memories.
        self._inspected_at: float | None = None
        self._durable = False
        self._epoch, self._serial = "", 0

    async def reserve(
        self, reservation: Reservation, *, now: float, unix_time: int
    ) -> None:
        """Reserve everything that an envelope uses up (see `ReplayGuard`).

        One round trip: a fifth of a millisecond on the same machine.

        Raises:
            ReplayError, StaleError: as `ReplayGuard.reserve` says.
            Overloaded: no answer in time, no connection, a server that is starting,
                busy or out of memory.
            ConfigError: a server that evicts, is a replica, refuses our name or the
                script, cannot write its disk, or has another time than we.
            UsageError: it was closed, or a time is not the kind of number that it is.
        """
        if self._closed:
            raise UsageError("the replay guard is closed")
        check_unix_time(unix_time)
        # It is kept, and every later one compared with it.
        check_limit(now, "now")
        # A task of its own, because a cancellation can get lost in the client, and this
        # must not wait for that.
        call = asyncio.create_task(self._call(reservation, now, unix_time))
        self._calls.add(call)
        call.add_done_callback(self._called)
        try:
            done, _ = await asyncio.wait((call,), timeout=self._timeout_s)
        finally:
            call.cancel()
        if not done:
            self._inspected_at = None
            raise Overloaded(f"no answer of the Redis server in {self._timeout_s:g} s")
        if call.cancelled():
            raise UsageError("the replay guard was closed")
        self._judge(call.result())

    def close(self) -> None:
        """End it: later reservations raise `UsageError`. Idempotent.

        Connections that it made are closed in the background; `aclose` waits.
        """
        if not self._closed and self._ours:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                pass  # they end with the process
            else:
                self._closing = loop.create_task(self._client.aclose())
        self._closed = True

    async def aclose(self) -> None:
        """Do the same, and wait until the connections are closed."""
        self.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if self._closing is not None:
            await self._closing

    def _called(self, call: asyncio.Task[list[str]]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # seen, also where nobody waits for it any more

    async def _call(
        self, reservation: Reservation, now: float, unix_time: int
    ) -> list[str]:
        try:
            with _typed():
                await self._inspect(now)
                return await self._ask(reservation, unix_time)
        except (Overloaded, ConfigError):
            self._inspected_at = None  # it may come back as another one
            raise

    async def _inspect(self, now: float) -> None:
        """Look, now and then, whether the server keeps what it is given."""
        last = self._inspected_at
        if last is not None and 0 <= now - last < REDIS_INSPECT_S:
            return
        found = await self._client.info()
        if found.get("maxmemory") and found.get("maxmemory_policy") != "noeviction":
            raise ConfigError(
                "the Redis server evicts what it should remember: set"
                " maxmemory-policy noeviction"
            )
        if found.get("role") != "master":
            raise ConfigError("the Redis server is a replica: name the master")
        self._durable = (
            found.get("aof_enabled") == 1
            and found.get("connected_slaves") == 0
            and await self._syncs_always()
        )
        self._inspected_at = now

    async def _syncs_always(self) -> bool:
        try:
            found = await self._client.config_get("appendfsync")
        except errors.ResponseError:
            return False  # not ours to know: then every restart is a loss
        return "always" in map(_text, found.values())

    async def _ask(self, reservation: Reservation, unix_time: int) -> list[str]:
        token = secrets.token_hex(8)
        keys = [self._prefix + key for key in (b"state", *reservation.keys())]
        arguments = (
            *(token, unix_time, reservation.expires, reservation.until),
            *(self._epoch, self._serial, int(self._durable)),
            int(self._assume_no_history and not self._epoch),
        )
        call: tuple[Any, ...] = (len(keys), *keys, *arguments)
        try:
            answer = await self._client.evalsha(_SCRIPT_SHA, *call)
        except errors.NoScriptError:
            answer = await self._client.eval(_SCRIPT, *call)
        texts = [_text(part) for part in answer]
        if len(texts) != 5 or texts[0] != token:
            # The answer to another question must not become the one to this.
            await self._client.connection_pool.disconnect()
            raise ConfigError("the Redis server answered something else")
        return texts[1:]

    def _judge(self, answer: list[str]) -> None:
        verdict, detail, epoch, serial = answer
        if verdict == "clock":
            raise ConfigError(
                f"the clocks of this machine and of the Redis server, {detail}, are"
                f" more than {FRESHNESS_SKEW_S} s apart"
            )
        if epoch != self._epoch:
            self._epoch, self._serial = epoch, 0
        self._serial = max(self._serial, int(serial))
        if verdict == "replay":
            raise replayed(int(detail))
        if verdict == "lost":
            raise StaleError(
                f"replay state is lost: nothing passes for another {detail} s. Wait;"
                " or, for an identity that has never received anything, make a new"
                " guard, under another prefix, with assume_no_history=True",
                code=Code.REPLAY_STATE_LOST,
            )
        if verdict != "accepted":
            raise StaleError("the envelope is outside its time", code=Code.SIG_STALE)


def _connect(url: str) -> Redis:
    pool = None
    # What the parser quotes where it cannot read on may be the password: nothing of
    # it is shown, and nothing of it hangs on our error.
    with suppress(ValueError):
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=REDIS_CONNECTIONS,
            timeout=None,  # the limit of the whole reservation is enough
            protocol=2,
            # A call that is made again finds its own token, and so does no harm.
            retry=Retry(NoBackoff(), 1),
        )
    if pool is None:
        raise UsageError("not the URL of a Redis server")
    return Redis.from_pool(pool)


def _text(part: object) -> str:
    return part.decode() if isinstance(part, bytes) else str(part)


@contextmanager
def _typed() -> Iterator[None]:
    """Turn every failure of the server, or on the way to it, into one of ours."""
    try:
        yield
    except (errors.AuthenticationError, errors.AuthorizationError) as exc:
        raise ConfigError(f"the Redis server refuses us: {exc}") from exc
    except _PASSING as exc:
        raise Overloaded(f"the Redis server does not answer: {exc!r}") from exc
    except errors.RedisError as exc:
        if str(exc).startswith(_PASSING_TEXTS):
            raise Overloaded(f"the Redis server does not answer: {exc}") from exc
        raise ConfigError(f"the Redis server: {exc}") from exc
    except (ValueError, TypeError, AttributeError) as exc:
        raise ConfigError(f"the Redis server answered nonsense: {exc}") from exc


_PASSING: Final = (
    *(errors.ConnectionError, errors.TimeoutError, errors.OutOfMemoryError),
    *(errors.ClusterDownError, errors.TryAgainError, TimeoutError, OSError),
)
_PASSING_TEXTS: Final = ("BUSY", "LOADING", "OOM")

# KEYS: the hash of the state, then two or three entries. ARGV: see `_ask`.
# Whatever it refuses, it keeps the clock and the quarantine. The hash is written before
# the entries, and a server that is out of memory refuses the first write: all or
# nothing. The token in an entry says whose call wrote it, for one that is made again.
_SCRIPT: Final = f"""
local token, ours = ARGV[1], tonumber(ARGV[2])
local expires, ends = tonumber(ARGV[3]), ARGV[4]
local known_epoch, known_serial = ARGV[5], tonumber(ARGV[6])
local durable, fresh = ARGV[7], ARGV[8] == '1'
local skew, window = {FRESHNESS_SKEW_S}, {FRESHNESS_WINDOW_S}

local time = tonumber(redis.call('TIME')[1])
if not (math.abs(time - ours) <= skew) then
  return {{token, 'clock', tostring(time), known_epoch, '0'}}
end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local state = redis.call(
  'HMGET', KEYS[1], 'run', 'durable', 'epoch', 'serial', 'clock', 'over', 'fresh')
local epoch, serial = state[3], tonumber(state[4]) or 0
local clock, over = tonumber(state[5]) or 0, tonumber(state[6]) or 0
local was_fresh = state[7] == '1'
local lost
if not epoch then
  lost = not fresh
  epoch, was_fresh = token, fresh
else
  lost = (state[1] ~= run and state[2] ~= '1')
    or (known_epoch == epoch and serial < known_serial)
    or (known_epoch ~= '' and known_epoch ~= epoch and was_fresh)
    or time < clock - skew
end
if lost then
  epoch, serial, clock, was_fresh = token, 0, time, false
  over = time + {REPLAY_QUARANTINE_S}
end
clock, serial = math.max(clock, time), serial + 1

local verdict, detail = 'accepted', ''
if time < over then
  verdict, detail = 'lost', tostring(over - time)
elseif not (clock < tonumber(ends) and expires <= clock + skew + window) then
  verdict = 'stale'
else
  for index = 2, #KEYS do
    local holder = redis.call('GET', KEYS[index])
    if holder and holder ~= token then
      verdict, detail = 'replay', tostring(index - 2)
      break
    end
  end
end

redis.call('HSET', KEYS[1], 'run', run, 'durable', durable, 'epoch', epoch,
  'serial', serial, 'clock', clock, 'over', over, 'fresh', was_fresh and '1' or '0')
if verdict == 'accepted' then
  for index = 2, #KEYS do
    redis.call('SET', KEYS[index], token, 'EXAT', ends)
  end
end
return {{token, verdict, detail, epoch, tostring(serial)}}
"""
# What Redis calls a script by; no security hangs on it.
_SCRIPT_SHA: Final = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
