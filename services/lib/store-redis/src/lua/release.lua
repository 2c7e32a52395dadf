-- KEYS[2]: the user agent's claim. ARGV[1]: the epoch.
local there = claim_at(KEYS[2])
if there and string.sub(there, 1, 8) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return {0}
