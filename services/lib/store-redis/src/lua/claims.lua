-- A claim is epoch, node and session. Anything else at its key is none.
local function claim_at(key)
  local there = redis.pcall('GET', key)
  if type(there) == 'string' and #there == 24 and struct.unpack('>I8', there) < 2 ^ 53 - 1 then return there end
  return false
end
