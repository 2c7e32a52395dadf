-- ARGV from 3 on: user agent and message id. The answers are id, since and sequence.
local found = {0}
for i = 3, #ARGV do
  local id = string.sub(ARGV[i], 17)
  local value = redis.call('HGET', base .. 'm' .. string.sub(ARGV[i], 1, 16), id)
  found[i - 1] = value and id .. string.sub(value, 1, 16)
end
return found
