-- ARGV from 3 on: user agent, channel and incarnation. The answer is one digit for each.
local function is_alive(who, channel, incarnation)
  local there = redis.call('HGET', base .. 's' .. who, channel)
  assert(not there or is_subscription(there))
  return there and string.sub(there, 1, 12) == incarnation and '1' or '0'
end

local found = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  found[i - 2] = of(string.sub(id, 1, 16), is_alive, string.sub(id, 17, 32), string.sub(id, 33)) or ''
end
return answer({0, table.concat(found)})
