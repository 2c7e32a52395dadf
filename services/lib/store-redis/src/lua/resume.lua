-- ARGV: leader epoch, then user agent and claim of each.
local leader_epoch = standing()[1]
if leader_epoch and tonumber(leader_epoch) > tonumber(ARGV[1]) then return {1} end
local holds = {0}
admit()
for i = 2, #ARGV do
  local key, claim = base .. 'at' .. string.sub(ARGV[i], 1, 16), string.sub(ARGV[i], 17)
  local there = claim_at(key)
  if there and struct.unpack('>I8', there) >= struct.unpack('>I8', claim) then
    claim = there
  end
  redis.call('SET', key, claim, 'EX', CLAIM_LIFE)
  holds[i] = claim
end
return holds
