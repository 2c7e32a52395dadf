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
