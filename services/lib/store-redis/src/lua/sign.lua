-- ARGV: leader epoch, the identity of the changelog.
local leader_epoch = standing()[1]
if not leader_epoch then return {0} end
if tonumber(leader_epoch) > tonumber(ARGV[1]) then return {1} end
admit()
redis.call('HSET', meta, 'h', ARGV[2])
return {0}
