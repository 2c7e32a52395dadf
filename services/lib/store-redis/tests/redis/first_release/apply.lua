-- ARGV: tenure, position, the position afterwards, whether the changes take memory, then the changes, each of which
-- begins with its letter.
local at = redis.call('HMGET', meta, 't', 'p')
local position = at[2] or '0'
if at[1] and tonumber(at[1]) > tonumber(ARGV[1]) then return {1} end
if at[1] and position == ARGV[3] then return {0} end
if position ~= ARGV[2] then
  if tonumber(position) < tonumber(ARGV[2]) then redis.call('HDEL', meta, 'c') end
  return {2, position}
end

if ARGV[4] == '0' then admit() end
redis.call('HSET', meta, 't', ARGV[1])
if not at[1] then redis.call('EXPIRE', meta, META_LIFE) end

local due = base .. 'due'
local touched = {}

-- A stored message: since, sequence, expiry, octets of its body, the length of what follows, its channel and topic,
-- and after those 29 octets and that length the message itself.
local function parts(value)
  local since, sequence, expires, octets, length = struct.unpack('>I8I8I8I4B', value)
  return since, string.format('%.0f', sequence), string.format('%.0f', expires), octets,
    string.sub(value, 30, 29 + length)
end

local function store(who, id, value)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  local since, sequence, expires, octets, slot = parts(value)
  local old = redis.call('HGET', box, id)
  touched[box], touched[queue], touched[due] = true, true, true
  if old then
    if struct.unpack('>I8', old) < since then
      redis.call('HSET', box, id, string.sub(value, 1, 8) .. string.sub(old, 9))
    end
    return
  end
  redis.call('HSET', box, id, value)
  redis.call('HINCRBY', box, 'o', octets)
  redis.call('ZADD', queue, sequence, id .. string.sub(slot, 1, 16))
  redis.call('ZADD', due, expires, who .. id)
  if #slot > 16 then
    local holder = redis.call('HGET', box, 't' .. slot)
    if not holder or struct.unpack('>I8', holder, 17) < tonumber(sequence) then
      redis.call('HSET', box, 't' .. slot, id .. string.sub(value, 9, 16))
    end
  end
end

local function finish(who, id, by)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  local value = redis.call('HGET', box, id)
  if not value then return end
  local since, sequence, expires, octets, slot = parts(value)
  if since > struct.unpack('>I8', by) then return end
  redis.call('ZREM', due, who .. id)
  redis.call('ZREM', queue, id .. string.sub(slot, 1, 16))
  if redis.call('EXISTS', queue) == 0 then
    redis.call('DEL', box)
    return
  end
  redis.call('HDEL', box, id)
  redis.call('HINCRBY', box, 'o', -octets)
  if #slot > 16 then
    local holder = redis.call('HGET', box, 't' .. slot)
    if holder and string.sub(holder, 1, 16) == id then redis.call('HDEL', box, 't' .. slot) end
  end
end

local i = 5
while i <= #ARGV do
  local change = ARGV[i]
  local kind, who, what = string.sub(change, 1, 1), string.sub(change, 2, 17), string.sub(change, 18, 33)
  i = i + 1
  if kind == 'M' then
    store(who, what, ARGV[i])
    i = i + 1
  elseif kind == 'E' then
    finish(who, what, string.sub(change, 34, 41))
  else
    local channels = base .. 's' .. who
    if kind == 'S' then
      redis.call('HSET', channels, what, string.sub(change, 34))
      touched[channels] = true
    else
      local there = redis.call('HGET', channels, what)
      if there and string.sub(there, 1, 12) == string.sub(change, 34) then redis.call('HDEL', channels, what) end
    end
  end
end

for key in pairs(touched) do redis.call('EXPIRE', key, KEY_LIFE) end
redis.call('HSET', meta, 'p', ARGV[3])
return {0}
