-- A stored message: since, sequence, expiry, octets of its body, the length of what follows, its channel and topic,
-- and after those 29 octets and that length the message itself.
local function parts(value)
  local since, sequence, expires, octets, length = struct.unpack('>I8I8I8I4B', value)
  assert(length >= 16 and #value >= 29 + length)
  return since, string.format('%.0f', sequence), string.format('%.0f', expires), octets,
    string.sub(value, 30, 29 + length)
end

local touched = {}

-- The field of a box that says how many of its messages are counted by channel. It has the name of the leader epoch
-- since which all owners count: a box that was not empty then is never counted whole.
local function total()
  return 'n' .. (counted or '')
end

-- What is there already is only made whole: a view that is told again may have lost a part. So a repeat of it, which
-- has another sequence, changes nothing but the right.
local function store(who, id, value)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  local old = redis.call('HGET', box, id)
  local since = struct.unpack('>I8', value)
  local _, sequence, expires, octets, slot = parts(old or value)
  touched[box], touched[queue], touched[due] = true, true, true
  if not old then
    redis.call('HSET', box, id, value)
    redis.call('HINCRBY', box, 'o', octets)
    redis.call('HINCRBY', box, total(), 1)
    redis.call('HINCRBY', box, 'n' .. string.sub(slot, 1, 16), 1)
  elseif struct.unpack('>I8', old) < since then
    redis.call('HSET', box, id, string.sub(value, 1, 8) .. string.sub(old, 9))
  end
  redis.call('ZADD', queue, sequence, id .. string.sub(slot, 1, 16))
  redis.call('ZADD', due, expires, who .. id)
  if #slot > 16 then
    local holder = redis.call('HGET', box, 't' .. slot)
    if not holder or struct.unpack('>I8', holder, 17) < tonumber(sequence) then
      redis.call('HSET', box, 't' .. slot, id .. string.sub(old or value, 9, 16))
    end
  end
end

-- How many messages are counted, and how many of each channel: `in_channel` believes it when all are.
local function uncount(box, channel)
  redis.call('HINCRBY', box, total(), -1)
  if redis.call('HINCRBY', box, 'n' .. channel, -1) <= 0 then redis.call('HDEL', box, 'n' .. channel) end
end

local function finish(who, id, by)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  local value = redis.call('HGET', box, id)
  if not value then return end
  local since, _, _, octets, slot = parts(value)
  if since > struct.unpack('>I8', by) then return end
  redis.call('ZREM', due, who .. id)
  assert(redis.call('ZREM', queue, id .. string.sub(slot, 1, 16)) == 1)
  if redis.call('EXISTS', queue) == 0 then
    redis.call('DEL', box)
    return
  end
  redis.call('HDEL', box, id)
  uncount(box, string.sub(slot, 1, 16))
  -- Lua writes the negative of 0 as "-0", which is no number to Redis.
  if octets > 0 then redis.call('HINCRBY', box, 'o', -octets) end
  if #slot > 16 then
    local holder = redis.call('HGET', box, 't' .. slot)
    if holder and string.sub(holder, 1, 16) == id then redis.call('HDEL', box, 't' .. slot) end
  end
end

-- The user agents that have a subscription with a webhook.
local webhooks = base .. 'webhooks'

local function take(who, kind, what, rest, value)
  local channels = base .. 's' .. who
  if kind == 'M' then
    store(who, what, value)
  elseif kind == 'E' then
    finish(who, what, rest)
  elseif kind == 'S' then
    redis.call('HSET', channels, what, rest)
    touched[channels] = true
    if has_webhook(rest) then
      redis.call('ZADD', webhooks, 0, who)
      touched[webhooks] = true
    end
  elseif kind == 'U' then
    local there = redis.call('HGET', channels, what)
    if there and string.sub(there, 1, 12) == rest then
      redis.call('HDEL', channels, what)
      if has_webhook(there) then redis.call('ZREM', webhooks, who) end
    end
  else
    -- Of a kind that says only whose it was: it could not be written.
    error('a change that cannot be kept')
  end
end

-- Takes the changes of ARGV from `i` on, each of which begins with its letter and its user agent. `failed` is told
-- whose cannot be kept, or they are set aside; nothing more of theirs is taken.
local function take_all(i, passes_over, failed)
  while i <= #ARGV do
    local change = ARGV[i]
    local kind, who = string.sub(change, 1, 1), string.sub(change, 2, 17)
    i = i + (kind == 'M' and 2 or 1)
    if not passes_over(who) then
      local done, failure =
        pcall(take, who, kind, string.sub(change, 18, 33), string.sub(change, 34), ARGV[i - 1])
      if not done and faults().is_of_value(failure) then (failed or faults().put_aside)(who) end
    end
  end
  for key in pairs(touched) do redis.call('EXPIRE', key, KEY_LIFE) end
end
