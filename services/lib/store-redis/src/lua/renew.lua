-- KEYS[1]: the members. ARGV: lease in milliseconds, and of one who is a member: its name and what it says of itself.
-- A member's value is the end of its lease and what it says.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] then
  admit()
  redis.call('HSET', KEYS[1], ARGV[2], struct.pack('>I8', now + tonumber(ARGV[1])) .. ARGV[3])
  redis.call('EXPIRE', KEYS[1], KEY_LIFE)
end
local all, there = redis.call('HGETALL', KEYS[1]), {0}
for i = 1, #all, 2 do
  if struct.unpack('>I8', all[i + 1]) > now then
    there[#there + 1] = all[i]
    there[#there + 1] = string.sub(all[i + 1], 9)
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return there
