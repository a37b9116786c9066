"""The Lua scripts: each runs as one step on the server, and names all keys that it touches in ``KEYS``.

``KEYS`` are, as far as a script needs them: the session's hash, its index, and the shard's sets of wake-ups, of
sessions, of labels and of what expires. Lists are handed on in pieces, because Lua's ``unpack`` takes some 8000 values
at most. The first write of a commit is the version: a server that is short of memory refuses only a script's first
write, and lets it finish after that.
"""

from __future__ import annotations

import hashlib


class Script:
    """A script and its digest."""

    def __init__(self, *parts: str) -> None:
        self.text = "\n".join(part.strip("\n") for part in parts).encode()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


_PIECES = """
local FORMAT = '1'
local PIECE = 4000

local function pieces(command, key, items, first, last)
    local changed = 0
    for from = first, last, PIECE do
        changed = changed + redis.call(command, key, unpack(items, from, math.min(from + PIECE - 1, last)))
    end
    return changed
end
"""

# HMGET gives false where there is no value, so no list has gaps and '#' counts right.
_SNAPSHOT = """
local function values(found, fields, first, last)
    for from = first, last, PIECE do
        for _, value in ipairs(redis.call('HMGET', KEYS[1], unpack(fields, from, math.min(from + PIECE - 1, last)))) do
            found[#found + 1] = value
        end
    end
    return found
end

local function index_is_gone()
    return redis.call('EXISTS', KEYS[2]) == 0
        and redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], 'expires') > 2
end

-- ARGV[at] is '*' for everything, or the number of single records; these follow, then the marks of whole collections.
local function snapshot(at)
    local everything = ARGV[at] == '*'
    local last = everything and at or at + tonumber(ARGV[at])
    local found = redis.call('HMGET', KEYS[1], 'version', 'format', unpack(ARGV, at + 1, math.min(at + PIECE, last)))
    if not found[1] then
        return redis.call('EXISTS', KEYS[1]) == 0 and 0 or 'version'
    end
    if found[2] ~= FORMAT then
        return 'format ' .. (found[2] or '')
    end
    if everything then
        return {found, redis.call('HGETALL', KEYS[1])}
    end
    local reply = {values(found, ARGV, at + PIECE + 1, last)}
    for i = last + 1, #ARGV do
        local fields = redis.call('ZRANGEBYLEX', KEYS[2], '[' .. ARGV[i], '(' .. ARGV[i] .. '\\255')
        if #fields == 0 and index_is_gone() then
            return 'index'
        end
        local stored, entries = values({}, fields, 1, #fields), {}
        for j, field in ipairs(fields) do
            entries[2 * j - 1] = string.sub(field, #ARGV[i] + 1)
            entries[2 * j] = stored[j]
        end
        reply[#reply + 1] = entries
    end
    return reply
end
"""

_FORGET = """
local function forget(mark, uid)
    local wakes, labels = {}, {}
    for _, field in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
        if string.sub(field, 1, 1) == 'l' then
            labels[#labels + 1] = (#field - 1) .. ':' .. string.sub(field, 2) .. uid
        else
            wakes[#wakes + 1] = mark .. field
        end
    end
    pieces('ZREM', KEYS[3], wakes, 1, #wakes)
    pieces('ZREM', KEYS[5], labels, 1, #labels)
    redis.call('ZREM', KEYS[4], uid)
    redis.call('ZREM', KEYS[6], uid)
    redis.call('UNLINK', KEYS[2])
end

local function uid_of(mark)
    return string.sub(mark, string.find(mark, ':', 1, true) + 1)
end
"""

LOAD = Script(_PIECES, _SNAPSHOT, "return snapshot(1)")
"""Keys: hash, index. Arguments: what is wanted.

Returns 0 for no session; or version, format and single records, with one list of names and records for each
collection (for everything: of all fields); or a word that says why the session cannot be read.
"""

COMMIT = Script(
    _PIECES,
    _SNAPSHOT,
    _FORGET,
    """
local mark, labels, puts, drops = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local puts_at = 8 + math.max(labels, 0)
local drops_at = puts_at + 2 * puts
local want_at = drops_at + drops

local meta = redis.call('HMGET', KEYS[1], 'version', 'format', 'expires')
local version = meta[1] or ''
if version ~= '' and meta[2] ~= FORMAT then
    return 'format ' .. (meta[2] or '')
end
if version ~= ARGV[1] then
    return snapshot(want_at)
end

local uid = uid_of(mark)
if version == '' then
    redis.call('HSET', KEYS[1], 'version', ARGV[2], 'format', FORMAT)
    if redis.call('ZREM', KEYS[6], uid) + redis.call('EXISTS', KEYS[2]) > 0 then
        forget(mark, uid)
    end
    redis.call('ZADD', KEYS[4], 0, uid)
else
    redis.call('HSET', KEYS[1], 'version', ARGV[2])
end

if drops > 0 then
    local members = {}
    for i = drops_at, want_at - 1 do
        members[#members + 1] = mark .. ARGV[i]
    end
    pieces('HDEL', KEYS[1], ARGV, drops_at, want_at - 1)
    pieces('ZREM', KEYS[2], ARGV, drops_at, want_at - 1)
    pieces('ZREM', KEYS[3], members, 1, #members)
end

if puts > 0 then
    local new = pieces('HSET', KEYS[1], ARGV, puts_at, drops_at - 1)
    local index, waking, quiet = {}, {}, {}
    for i = puts_at, drops_at - 1, 2 do
        local at = string.match(ARGV[i + 1], '^(-?%d+):')
        if at then
            waking[#waking + 1] = at
            waking[#waking + 1] = mark .. ARGV[i]
        else
            quiet[#quiet + 1] = mark .. ARGV[i]
        end
        if new > 0 then
            index[#index + 1] = '0'
            index[#index + 1] = ARGV[i]
        end
    end
    pieces('ZADD', KEYS[2], index, 1, #index)
    pieces('ZADD', KEYS[3], waking, 1, #waking)
    if new < puts then
        pieces('ZREM', KEYS[3], quiet, 1, #quiet)
    end
end

if labels >= 0 then
    local old = {}
    for _, field in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], '[l', '(m')) do
        old[field] = true
    end
    for i = 8, puts_at - 1 do
        local field = 'l' .. ARGV[i]
        if not old[field] then
            redis.call('ZADD', KEYS[2], 0, field)
            redis.call('ZADD', KEYS[5], 0, #ARGV[i] .. ':' .. ARGV[i] .. uid)
        end
        old[field] = nil
    end
    for field in pairs(old) do
        redis.call('ZREM', KEYS[2], field)
        redis.call('ZREM', KEYS[5], (#field - 1) .. ':' .. string.sub(field, 2) .. uid)
    end
end

if ARGV[3] ~= '' then
    local time = redis.call('TIME')
    local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3] * 1000)
    redis.call('HSET', KEYS[1], 'expires', '1')
    redis.call('ZADD', KEYS[6], at, uid)
    redis.call('PEXPIREAT', KEYS[1], at)
elseif meta[3] then
    redis.call('HDEL', KEYS[1], 'expires')
    redis.call('ZREM', KEYS[6], uid)
    redis.call('PERSIST', KEYS[1])
end
return 1
""",
)
"""Keys: all six. Arguments: the expected version, the new one, seconds to live or nothing, the marked uid, the numbers
of labels (-1 leaves them), puts and drops, then these, then what a conflict is to bring.

Returns 1, or what a load returns: then nothing was stored.
"""

DELETE = Script(
    _PIECES,
    _FORGET,
    """
local meta = redis.call('HMGET', KEYS[1], 'version', 'format')
local version = meta[1] or ''
if version ~= '' and meta[2] ~= FORMAT then
    return 'format ' .. (meta[2] or '')
end
if ARGV[2] == 'if' and version ~= ARGV[3] then
    return 2
end
forget(ARGV[1], uid_of(ARGV[1]))
return redis.call('UNLINK', KEYS[1])
""",
)
"""Keys: all six. Arguments: the marked uid, and ``if`` with the expected version.

Returns the number of sessions removed, or 2 for a conflict.
"""

PURGE = Script(
    _PIECES,
    _FORGET,
    """
if redis.call('EXISTS', KEYS[1]) == 0 then
    forget(ARGV[1], uid_of(ARGV[1]))
end
return 1
""",
)
"""Keys: all six. Argument: the marked uid. Removes what an expired session has left in the sets."""

# An expired session's entries stay in the sets until somebody lists them: they are left out, and reported for a purge.
_EXPIRED = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. string.format('%.0f', now), 'LIMIT', 0, 100)

local function expired(uid)
    local at = #gone > 0 and redis.call('ZSCORE', KEYS[2], uid)
    return at and tonumber(at) < now
end
"""

DUE = Script(
    _EXPIRED,
    """
-- Whether a sorts before b, byte by byte: Lua's own '<' follows the server's locale.
local function before(a, b)
    for i = 1, math.min(#a, #b) do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then
            return x < y
        end
    end
    return #a < #b
end

-- The rank of the first entry behind (score, member); the entry itself may have gone.
local function behind(score, member)
    if redis.call('ZSCORE', KEYS[1], member) == score then
        return redis.call('ZRANK', KEYS[1], member) + 1
    end
    local low, high = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. score), redis.call('ZCOUNT', KEYS[1], '-inf', score)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if before(member, redis.call('ZRANGE', KEYS[1], middle, middle)[1]) then
            high = middle
        else
            low = middle + 1
        end
    end
    return low
end

local limit, start = tonumber(ARGV[2]), 0
if ARGV[3] == 'at' then
    start = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[4])
elseif ARGV[3] == 'past' then
    start = redis.call('ZCOUNT', KEYS[1], '-inf', ARGV[4])
elseif ARGV[3] == 'behind' then
    start = behind(ARGV[4], ARGV[5])
end
local found = redis.call('ZRANGE', KEYS[1], start, start + limit - 1, 'WITHSCORES')
local entries, examined = {}, 0
for i = 1, #found, 2 do
    if tonumber(found[i + 1]) > tonumber(ARGV[1]) then
        break
    end
    examined = examined + 1
    local colon = string.find(found[i], ':', 1, true)
    local uid = string.sub(found[i], colon + 1, colon + tonumber(string.sub(found[i], 1, colon - 1)))
    if not expired(uid) then
        entries[#entries + 1] = found[i + 1]
        entries[#entries + 1] = found[i]
    end
end
if examined < limit then
    return {entries, {}, gone}
end
return {entries, {found[2 * limit], found[2 * limit - 1]}, gone}
""",
)
"""Keys: wake-ups, expiring. Arguments: until when, how many, and from where (``at`` or ``past`` a time, ``behind``
an entry).

Returns score and member of each, of the last one looked at if there may be more, and uids to purge.
"""

SCAN = Script(
    _EXPIRED,
    """
local found = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, tonumber(ARGV[3]))
local uids = {}
for i, member in ipairs(found) do
    local uid = string.sub(member, tonumber(ARGV[4]) + 1)
    if not expired(uid) then
        uids[#uids + 1] = uid
    end
    found[i] = uid
end
return {uids, #found == tonumber(ARGV[3]) and {found[#found]} or {}, gone}
""",
)
"""Keys: sessions or labels, expiring. Arguments: from where, to where, how many, how many bytes precede the uid.

Returns uids, the last one looked at if there may be more, and uids to purge.
"""

LAYOUT = Script(
    """
local uses = {
    {'hmget', 'f'}, {'hset', 'f', 'v'}, {'hdel', 'f'}, {'hgetall'}, {'hlen'}, {'hexists', 'f'}, {'exists'}, {'unlink'},
    {'pexpireat', '1'}, {'persist'}, {'zadd', '0', 'm'}, {'zrem', 'm'}, {'zrange', '0', '1'}, {'zrank', 'm'},
    {'zscore', 'm'}, {'zcount', '0', '1'}, {'zlexcount', '-', '+'}, {'zrangebylex', '-', '+'},
    {'zrangebyscore', '0', '1'},
}
for _, use in ipairs(redis.acl_check_cmd and uses or {}) do
    if not redis.acl_check_cmd(use[1], KEYS[1], unpack(use, 2)) then
        return redis.error_reply('NOPERM this user has no permissions to run the command ' .. use[1])
    end
end
local found = redis.call('GET', KEYS[1])
if not found then
    redis.pcall('SET', KEYS[1], ARGV[1])
    return ARGV[1]
end
return found
""",
)
"""Key: the layout. Argument: the layout to note if there is none. Returns the one that holds.

It also finds out, where the server can say (from 7.0 on), that the user lacks a command: a commit must not
learn that half-way. A replica or a full server takes no note; a commit will tell.
"""
