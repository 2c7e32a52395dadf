-- KEYS[2]: the user agent's claim. ARGV: leader epoch, node and session.
-- `e` in `meta` is the highest epoch so far: a clock that was set back does not make later claims count less.
local at = standing()
if at[1] and tonumber(at[1]) > tonumber(ARGV[1]) then return {1} end
local time = redis.call('TIME')
local highest = redis.call('HGET', meta, 'e')
local epoch = math.max(time[1] * 1000000 + time[2], is_number(highest) and tonumber(highest) + 1 or 0)
local old = claim_at(KEYS[2])
if old then epoch = math.max(epoch, struct.unpack('>I8', old) + 1) end
local claim = struct.pack('>I8', epoch) .. ARGV[2]
admit()
redis.call('SET', KEYS[2], claim, 'EX', CLAIM_LIFE)
if at[1] then redis.call('HSET', meta, 'e', string.format('%.0f', epoch)) end
return {0, claim, old}
