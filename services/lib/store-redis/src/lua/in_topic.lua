-- ARGV from 3 on: user agent, channel and topic. The answers are as `stored_as` has them.
local function in_topic(who, slot)
  local box = base .. 'm' .. who
  local holder = redis.call('HGET', box, 't' .. slot)
  local id = holder and string.sub(holder, 1, 16)
  -- One that has ended holds no topic: an end that was broken off can have left its name.
  return id and redis.call('HEXISTS', box, id) == 1 and stored_as(box, id)
end

local found = {0}
for i = 3, #ARGV do
  found[i - 1] = of(string.sub(ARGV[i], 1, 16), in_topic, string.sub(ARGV[i], 17))
end
return answer(found)
