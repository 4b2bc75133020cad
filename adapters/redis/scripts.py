"""The scripts that Redis runs for allowances: each decides and writes in one step.

A slice is a hash: its epoch, state, end, places and sequence number, what each gateway drew
(`g:` and its name) and who has told the ledger everything (`t:`). A question's digest points to
its current slice.
"""

import hashlib
from typing import NamedTuple

_EPOCH = """
-- The name of this server's memory since it last could have gone back in time: of its process,
-- of its place in a replication, and of the last file that it read. A slice of another is lost.
local function epoch()
  local info = redis.call('INFO', 'server', 'replication', 'persistence')
  local run = string.match(info, '\\nrun_id:(%w+)')
  local replication = string.match(info, '\\nmaster_replid:(%w+)')
  if not run or not replication then error('the server does not tell its run') end
  local keys = string.match(info, '\\nrdb_last_load_keys_loaded:(%w+)') or ''
  local expired = string.match(info, '\\nrdb_last_load_keys_expired:(%w+)') or ''
  return redis.sha1hex(table.concat({run, replication, keys, expired}, ' '))
end
"""

_CLOSE = """
local function close(at)
  if redis.call('HGET', at, 'state') == 'open' then
    redis.call('HSET', at, 'state', 'closed')
    redis.call('HINCRBY', at, 'seq', 1)
  end
end
"""

_DRAW = """
local prefix, gateway, now = ARGV[1], 'g:' .. ARGV[2], tonumber(ARGV[3])
local current = epoch()
local function draw(key, count)
  local id = redis.call('GET', key)
  if not id then return {'none'} end
  local at = prefix .. 'slice:' .. id
  local s = redis.call('HMGET', at, 'epoch', 'state', 'until', 'left', 'seq', gateway)
  if not s[1] then return {'none'} end
  if s[1] ~= current then return {'abandoned'} end
  if s[2] ~= 'open' then return {'closed'} end
  local ends, left, seq = tonumber(s[3]), tonumber(s[4]), tonumber(s[5]) + 1
  if now >= ends then return {'ending'} end
  if left < 1 then return {'spent'} end
  local taken = math.min(count, left)
  redis.call('HSET', at, 'left', left - taken, 'seq', seq, gateway, (s[6] or 0) + taken)
  return {'drawn', id, taken, left - taken, seq, ends}
end
local answers = {}
for i, key in ipairs(KEYS) do
  -- One slice that is broken does not take the others with it.
  local done, answer = pcall(draw, key, tonumber(ARGV[3 + i]))
  if not done then
    answer = {'broken', type(answer) == 'table' and answer.err or tostring(answer)}
  end
  answers[i] = answer
end
return answers
"""

_PUBLISH = """
local pointer, at, terms = KEYS[1], KEYS[2], KEYS[3]
local prefix, id, places, ends, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('EXISTS', at) == 1 then return 0 end
local before = redis.call('GET', pointer)
redis.call('HSET', at, 'epoch', epoch(), 'state', 'open', 'until', ends, 'places', places,
  'left', places, 'seq', 0, 'key', pointer)
redis.call('PEXPIRE', at, kept)
redis.call('SET', terms, ARGV[6], 'PX', kept)
redis.call('SET', pointer, id, 'PX', kept)
if before then close(prefix .. 'slice:' .. before) end
return 1
"""

_END = """
local at = KEYS[1]
if redis.call('EXISTS', at) == 0 then
  -- Whoever publishes it may be late: it is closed already then, and nobody can say of a slice
  -- that is unknown here what was drawn from it. So it has no places, and is never tallied.
  redis.call('HSET', at, 'epoch', epoch(), 'state', 'closed', 'seq', 0)
  redis.call('PEXPIRE', at, ARGV[1])
end
close(at)
return redis.call('HGET', at, 'seq') + 0
"""

_TALLY = """
local at = KEYS[1]
local s = redis.call('HMGET', at, 'epoch', 'state', 'places', 'seq')
if not s[3] or s[2] ~= 'closed' or s[1] ~= epoch() then return {0, 0} end
redis.call('HSET', at, 't:' .. ARGV[1], 1)
return {1, s[4] + 0}
"""

_TALLIED = """
local all, s = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do s[all[i]] = all[i + 1] end
if not s.places or s.state ~= 'closed' or s.epoch ~= epoch() then return {0, 0} end
local told, drawn = 1, 0
for name, value in pairs(s) do
  if string.sub(name, 1, 2) == 'g:' then
    drawn = drawn + tonumber(value)
    if not s['t:' .. string.sub(name, 3)] then told = 0 end
  end
end
if drawn + tonumber(s.left) ~= tonumber(s.places) then told = 0 end
return {told, s.seq + 0}
"""

_TERMS = """
return redis.call('GET', KEYS[1])
"""

_FORGET = """
local pointer = redis.call('HGET', KEYS[1], 'key')
if pointer and redis.call('GET', pointer) == ARGV[1] then redis.call('DEL', pointer) end
return redis.call('DEL', KEYS[1], KEYS[2])
"""


class Script(NamedTuple):
    """A script and the name by which Redis knows it."""

    text: str
    sha: str


def _script(body: str, *helpers: str) -> Script:
    """Make a script that answers with its last argument and what its body returns.

    By that argument whoever asked knows that it is the answer to this question.
    """
    text = "".join([*helpers, "local function main()", body, "end\n"])
    text += "return {ARGV[#ARGV], main()}"
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


DRAW = _script(_DRAW, _EPOCH)
"""Keys of questions; prefix, gateway, now, counts: an answer for each."""
PUBLISH = _script(_PUBLISH, _EPOCH, _CLOSE)
"""Question, slice, terms; prefix, reservation, places, end, milliseconds, terms: 1 if it is new."""
TERMS = _script(_TERMS)
"""Terms: what they say."""
END = _script(_END, _EPOCH, _CLOSE)
"""Slice; milliseconds that a slice is remembered which was not known: its sequence number."""
TALLY = _script(_TALLY, _EPOCH)
"""Slice; gateway: whether it is noted, and the slice's sequence number."""
TALLIED = _script(_TALLIED, _EPOCH)
"""Slice: whether everybody has tallied, and the slice's sequence number."""
FORGET = _script(_FORGET)
"""Slice, terms; reservation: how many keys are gone."""
