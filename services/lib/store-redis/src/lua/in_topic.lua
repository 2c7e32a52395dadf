-- ARGV from 3 on: user agent, channel and topic. The answers are id, since and sequence.
local found = {0}
for i = 3, #ARGV do
  local box = base .. 'm' .. string.sub(ARGV[i], 1, 16)
  local holder = redis.call('HGET', box, 't' .. string.sub(ARGV[i], 17))
  if holder then
    local id = string.sub(holder, 1, 16)
    found[i - 1] = id .. string.sub(redis.call('HGET', box, id), 1, 16)
  else
    found[i - 1] = false
  end
end
return found
