-- KEYS[1] is the partition's key `meta`; the names of all its other keys begin as that one does.
local meta = KEYS[1]
local base = string.sub(meta, 1, -5)
local due = base .. 'due'

-- In seconds. The crate's documentation says why the second has to be so much longer than the first.
local META_LIFE, KEY_LIFE, CLAIM_LIFE = 2592000, 5184000, 604800

-- Redis refuses the first write of a script, and none after it, when its memory is full. This one takes none, so it
-- is not refused: it stands before writes that have to be possible then.
local function admit()
  redis.call('HDEL', meta, '')
end

-- Which life of the server this is. It changes with a restart and with a fail-over. Empty: it may not be asked.
local function life()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
end

-- A number of at most 2^53, in digits.
local function is_number(text)
  return text and #text <= 16 and string.match(text, '^%d+$')
end

-- Leader epoch, position, completeness, how many user agents are set aside, and since which leader epoch channels are
-- counted; false for what is not there. A `meta` that is not as it was written is as good as lost.
-- While somebody is set aside `p` is 0, and `a` is the position: to a release that does not know of such user agents
-- the view is empty, and it tells the view all of theirs.
local function standing()
  local at = redis.pcall('HMGET', meta, 't', 'p', 'c', 'x', 'g', 'a')
  if not at.err and is_number(at[1]) and is_number(at[2]) then
    if at[2] == '0' and is_number(at[6]) then at[2] = at[6] end
    return at
  end
  if at.err or at[1] or at[2] then redis.call('DEL', meta) end
  return {false, false, false, false, false, false}
end

-- The leader epoch since which all owners have counted the messages of channels, once it is known.
local counted = false

-- Enters the leader epoch of the owner. An owner that does not count the messages of channels leaves `k` where it was:
-- then all that was counted before counts for nothing.
local function own(leader_epoch)
  local last = redis.call('HMGET', meta, 't', 'k')
  if not last[1] or last[1] ~= last[2] then redis.call('HSET', meta, 'g', leader_epoch) end
  redis.call('HSET', meta, 't', leader_epoch, 'k', leader_epoch)
  counted = redis.call('HGET', meta, 'g')
end

-- A claim is epoch, node and session. Anything else at its key is none.
local function claim_at(key)
  local there = redis.pcall('GET', key)
  if type(there) == 'string' and #there == 24 and struct.unpack('>I8', there) < 2 ^ 53 - 1 then return there end
  return false
end
