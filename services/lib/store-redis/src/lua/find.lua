-- ARGV from 3 on: user agent and channel.
local function find(who, channel)
  return redis.call('HGET', base .. 's' .. who, channel)
end

local found = {0}
for i = 3, #ARGV do
  found[i - 1] = of(string.sub(ARGV[i], 1, 16), find, string.sub(ARGV[i], 17))
end
return answer(found)
