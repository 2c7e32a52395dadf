-- KEYS[1]: the members. KEYS[2]: their clocks. ARGV: lease in milliseconds, and of one who is a member: its name, what
-- it says of itself, and what it says of its clocks: one octet while it has no vote. A release that knows nothing of
-- clocks says nothing of them.
-- A member's value is the end of its lease and what it says. Its clocks' value is the version of the form, its lease,
-- and what it says; the first two stay where they are in every version. The field `line` has what was said last.
-- Only entries of this form stay: others are taken away, and so is a key that is no hash.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local LEASE_MAX = 86400000
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
end
if ARGV[2] then
  admit()
  redis.call('HSET', KEYS[1], ARGV[2], struct.pack('>I8', now + tonumber(ARGV[1])) .. ARGV[3])
  redis.call('EXPIRE', KEYS[1], KEY_LIFE)
  local clocks = string.sub(ARGV[4], 1, 1) .. struct.pack('>I4', tonumber(ARGV[1])) .. string.sub(ARGV[4], 2)
  redis.call('HSET', KEYS[2], ARGV[2], clocks)
  if #ARGV[4] > 1 then redis.call('HSET', KEYS[2], 'line', clocks) end
  redis.call('EXPIRE', KEYS[2], KEY_LIFE)
end

local clocks, line = {}, false
local said = redis.call('HGETALL', KEYS[2])
for i = 1, #said, 2 do
  if said[i] == 'line' then
    line = said[i + 1]
  elseif redis.call('HEXISTS', KEYS[1], said[i]) == 0 then
    redis.call('HDEL', KEYS[2], said[i])
  else
    clocks[said[i]] = said[i + 1]
  end
end

local function take_away(id)
  redis.call('HDEL', KEYS[1], id)
  if id ~= 'line' then redis.call('HDEL', KEYS[2], id) end
end

-- Time, strange entries, the line; then of each member its name, what it says, and its clocks.
local there = {0, tostring(time[1]), tostring(time[2]), 0, line or ''}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local id, value = all[i], all[i + 1]
  local till = #id == 8 and #value >= 8 and struct.unpack('>I8', value)
  if not till or till > now + LEASE_MAX then
    there[4] = there[4] + 1
    take_away(id)
  elseif till <= now then
    take_away(id)
  else
    -- A lease that is longer than it was given was given before this clock was set back.
    local lease = clocks[id] and #clocks[id] >= 5 and struct.unpack('>I4', clocks[id], 2)
    if lease and till > now + lease then
      redis.call('HSET', KEYS[1], id, struct.pack('>I8', now + lease) .. string.sub(value, 9))
    end
    there[#there + 1] = id
    there[#there + 1] = string.sub(value, 9)
    there[#there + 1] = clocks[id] or ''
  end
end
return there
