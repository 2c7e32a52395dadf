-- KEYS[2]: the user agent's claim. ARGV: tenure, node and session. A claim is epoch, node and session.
local tenure = redis.call('HGET', meta, 't')
if tenure and tonumber(tenure) > tonumber(ARGV[1]) then return {1} end
local time = redis.call('TIME')
local epoch = time[1] * 1000000 + time[2]
local old = redis.call('GET', KEYS[2])
if old then epoch = math.max(epoch, struct.unpack('>I8', old) + 1) end
local claim = struct.pack('>I8', epoch) .. ARGV[2]
admit()
redis.call('SET', KEYS[2], claim, 'EX', CLAIM_LIFE)
return {0, claim, old}
