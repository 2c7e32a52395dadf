-- ARGV from 3 on: user agent and channel.
local found = {0}
for i = 3, #ARGV do
  found[i - 1] = redis.call('HGET', base .. 's' .. string.sub(ARGV[i], 1, 16), string.sub(ARGV[i], 17))
end
return found
