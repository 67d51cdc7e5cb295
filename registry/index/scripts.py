"""What the registry runs inside Redis: every step that must be whole or not at all.

A script touches keys of one slot only, and names them all in KEYS. Those that bear `allow-oom` run also when Redis has
reached `maxmemory`: they withdraw consents, renew what is there, or drop it. Numbers that they return for an outcome
are negative; see the constants.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

from filters.layout import CHANGES_FIELD, FORMAT, MARKER

REFUSED: Final = -1  # the lane knows later facts
UNUSABLE: Final = -2  # the state, a lane or a bucket is not there, or not ours
SUPERSEDED: Final = -3  # somebody else has gone on with it, or a newer epoch was faster
FAULTS: Final = (REFUSED, UNUSABLE, SUPERSEDED)


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name that Redis knows it by."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text.encode(), usedforsecurity=False).hexdigest())


def _script(body: str, *, full: bool = False) -> Script:
    """`full`: it runs also when Redis is full."""
    flags = " flags=allow-oom" if full else ""
    return Script(f"#!lua{flags}\n{_SHARED}{body}")


_SHARED: Final = f"""
local function whole(first)
  for i = first, #KEYS do
    if redis.call('SISMEMBER', KEYS[i], '{MARKER}') == 0 then return false end
  end
  return true
end
local function usable(key, key_check)
  local found = redis.call('HMGET', key, 'format', 'key_check', 'epoch')
  return found[1] == '{FORMAT}' and found[2] == key_check and found[3]
end
local function turn_of(key, epoch)
  local entry = redis.call('HGET', key, epoch)
  return entry and tostring(cjson.decode(entry).turn)
end
"""

# KEYS lane, buckets… ARGV as_of, letter, then for each bucket: how many members, members…
_APPLY: Final = """
local as_of = redis.call('HGET', KEYS[1], 'as_of')
if not as_of or not whole(2) then return {UNUSABLE} end
if tonumber(as_of) > tonumber(ARGV[1]) then return {REFUSED} end
local at, changed = 3, 0
for i = 2, #KEYS do
  local last = at + tonumber(ARGV[at])
  changed = changed + redis.call('{command}', KEYS[i], unpack(ARGV, at + 1, last))
  at = last + 1
end
if changed > 0 then redis.call('HINCRBY', KEYS[1], ARGV[2], {sign} * changed) end
redis.call('HSET', KEYS[1], 'as_of', ARGV[1])
return changed
"""


def _apply(command: str, sign: int) -> str:
    return _APPLY.format(command=command, sign=sign, UNUSABLE=UNUSABLE, REFUSED=REFUSED)


REMOVE: Final = _script(_apply("SREM", -1), full=True)
REFUSE: Final = _script(_apply("SADD", 1), full=True)
ADD: Final = _script(_apply("SADD", 1))
"""Facts of one lane and family, of one kind. Returns how many members there are more or less. REFUSE adds where a
member is somebody who refuses: a full Redis takes that, too."""

TELL: Final = _script(
    f"""
local epoch = usable(KEYS[1], ARGV[1])
if not epoch then return {UNUSABLE} end
if epoch == ARGV[2] then
  if ARGV[3] ~= '0' then redis.call('HINCRBY', KEYS[1], 'count_b', ARGV[3]) end
  if ARGV[4] ~= '0' then redis.call('HINCRBY', KEYS[1], 'count_t', ARGV[4]) end
end
for i = 6, #ARGV do
  local number = redis.call('HINCRBY', KEYS[1], 'changes', 1)
  local id = string.format('%.0f-0', number)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], id, '{CHANGES_FIELD}', ARGV[i])
end
local announced = redis.call('HGET', KEYS[1], 'next')
if announced and redis.call('HEXISTS', KEYS[3], announced) == 0 then announced = false end
return {{epoch, announced or ''}}
""",
    full=True,
)
"""KEYS state, changes, builds. ARGV key_check, epoch, growth of b, of t, entries to keep, entries…

Returns the epoch and the announced one, which may have changed since the lanes were written.
"""

BEAT: Final = _script(
    f"""
local epoch = usable(KEYS[1], ARGV[1])
if not epoch then return {UNUSABLE} end
local cursor = tonumber(redis.call('HGET', KEYS[1], 'cursor') or '0')
if tonumber(ARGV[2]) > cursor then redis.call('HSET', KEYS[1], 'cursor', ARGV[2]) end
if epoch == ARGV[3] then redis.call('HSET', KEYS[1], 'count_b', ARGV[4], 'count_t', ARGV[5]) end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'heartbeat_ms', now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000)))
return redis.call('HGETALL', KEYS[1])
""",
    full=True,
)
"""KEYS state. ARGV key_check, cursor, epoch of the counts or "", count_b, count_t. Returns the state's fields."""

SUSPEND: Final = _script(
    f"""
if not usable(KEYS[1], ARGV[1]) then return {UNUSABLE} end
local found = redis.call('HGET', KEYS[1], 'suspended')
local stands = found and tonumber(string.match(found, '^%d+'))
if stands and stands > tonumber(ARGV[2]) and stands ~= tonumber(ARGV[4]) then return stands end
if found ~= ARGV[3] then redis.call('HSET', KEYS[1], 'suspended', ARGV[3]) end
return tonumber(ARGV[2])
""",
    full=True,
)
"""KEYS state. ARGV key_check, version, what is to stand there, the later version that it may replace.

Returns the version that stands."""

LEVEL: Final = _script(
    f"""
local found = redis.call('HMGET', KEYS[1], 'b', 't', 'level')
if not found[1] or not found[2] then return {UNUSABLE} end
if ARGV[2] ~= '' and found[3] and tonumber(ARGV[1]) > tonumber(found[3]) then
  if string.find(redis.call('INFO', 'replication'), 'master_replid:' .. ARGV[2], 1, true) then
    redis.call('HSET', KEYS[1], 'level', ARGV[1])
  end
end
return {{tonumber(found[1]), tonumber(found[2])}}
""",
    full=True,
)
"""KEYS lane. ARGV cursor, the run that is vouched for or "". A server that was promoted in between has another run and
may lack what the cursor promises. Returns the lane's counts."""

VOUCH: Final = _script(
    f"""
if usable(KEYS[1], ARGV[1]) ~= ARGV[2] then return {UNUSABLE} end
redis.call('HSET', KEYS[1], 'runs', ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'history', ARGV[4]) end
return 0
""",
    full=True,
)
"""KEYS state. ARGV key_check, the epoch that was looked at, runs, new history or ""."""

OPEN: Final = _script(
    f"""
if #KEYS > 1 then redis.call('UNLINK', unpack(KEYS, 2)) end
for i = 2, #KEYS do redis.call('SADD', KEYS[i], '{MARKER}') end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'as_of', ARGV[1], 'b', 0, 't', 0, 'builder', ARGV[2])
return 0
"""
)
"""KEYS lane, some of its buckets. ARGV as_of, builder. Begins a lane of a build, in one call or in several."""

FILL: Final = _script(
    f"""
local found = redis.call('HMGET', KEYS[1], 'builder', 'level')
if not found[1] then return {UNUSABLE} end
if found[1] ~= ARGV[1] or found[2] then return {SUPERSEDED} end
if not whole(2) then return {UNUSABLE} end
local at, added = 3, 0
for i = 2, #KEYS do
  local last = at + tonumber(ARGV[at])
  added = added + redis.call('SADD', KEYS[i], unpack(ARGV, at + 1, last))
  at = last + 1
end
if added > 0 then redis.call('HINCRBY', KEYS[1], ARGV[2], added) end
return added
"""
)
"""KEYS lane, buckets… ARGV builder, letter, then for each bucket: how many members, members…"""

CLAIM: Final = _script(
    f"""
local builder = redis.call('HGET', KEYS[1], 'builder')
if not builder then return {UNUSABLE} end
if tonumber(builder) >= tonumber(ARGV[1]) then return {SUPERSEDED} end
redis.call('HSET', KEYS[1], 'builder', ARGV[1])
redis.call('HDEL', KEYS[1], 'level')
return 0
""",
    full=True,
)
"""KEYS lane. ARGV builder, the number of those who took the build up: the highest wins."""

SEAL: Final = _script(
    f"""
local found = redis.call('HMGET', KEYS[1], 'builder', 'b', 't')
if not found[1] or not whole(2) then return {UNUSABLE} end
if found[1] ~= ARGV[1] then return {SUPERSEDED} end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'level', ARGV[2]) end
return {{tonumber(found[2]), tonumber(found[3])}}
""",
    full=True,
)
"""KEYS lane, some of its buckets. ARGV builder, level or "" where more of the lane follows. A lane that has a level is
whole, wherever it is replicated to, and takes no filling. Returns its counts."""

NOTE: Final = _script(
    f"""
local turn = turn_of(KEYS[1], ARGV[1])
if not turn then return {UNUSABLE} end
if turn ~= ARGV[2] then return {SUPERSEDED} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 0
"""
)
"""KEYS builds. ARGV epoch, builder, entry."""

TAKE: Final = _script(
    f"""
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) >= tonumber(ARGV[1]) then return {SUPERSEDED} end
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return {SUPERSEDED} end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 0
"""
)
"""KEYS state, builds. ARGV epoch, the entry as it was read, the entry as it is to be."""

ANNOUNCE: Final = _script(
    f"""
local found = redis.call('HMGET', KEYS[1], 'epoch', 'next')
for i = 1, 2 do
  if found[i] and tonumber(found[i]) >= tonumber(ARGV[1]) + i - 1 then return {SUPERSEDED} end
end
local turn = turn_of(KEYS[2], ARGV[1])
if not turn then return {UNUSABLE} end
if turn ~= ARGV[2] then return {SUPERSEDED} end
redis.call('HSET', KEYS[1], 'next', ARGV[1])
return 0
"""
)
"""KEYS state, builds. ARGV epoch, builder."""

SWITCH: Final = _script(
    f"""
local found = redis.call('HMGET', KEYS[1], 'epoch', 'next')
if found[1] and tonumber(found[1]) >= tonumber(ARGV[1]) then return {SUPERSEDED} end
if found[2] and tonumber(found[2]) > tonumber(ARGV[1]) then return {SUPERSEDED} end
local turn = turn_of(KEYS[2], ARGV[1])
if found[2] ~= ARGV[1] or not turn then return {UNUSABLE} end
if turn ~= ARGV[2] then return {SUPERSEDED} end
local now = redis.call('TIME')
local heartbeat_ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
redis.call('HSET', KEYS[1], 'heartbeat_ms', heartbeat_ms, 'epoch', ARGV[1], unpack(ARGV, 3))
redis.call('HSETNX', KEYS[1], 'changes', 0)
redis.call('HDEL', KEYS[1], 'next')
redis.call('UNLINK', KEYS[3])
return redis.call('HGETALL', KEYS[1])
""",
    full=True,
)
"""KEYS state, builds, changes. ARGV epoch, builder, then the state's other fields and their values.

The stream begins anew with the new `history`; its numbers go on.
"""

LEAVE: Final = _script(
    f"""
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then return {SUPERSEDED} end
local turn = turn_of(KEYS[2], ARGV[1])
if turn and turn ~= ARGV[2] then return {SUPERSEDED} end
if redis.call('HGET', KEYS[1], 'next') == ARGV[1] then redis.call('HDEL', KEYS[1], 'next') end
return 0
""",
    full=True,
)
"""KEYS state, builds. ARGV epoch, builder."""
