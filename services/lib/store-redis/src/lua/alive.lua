-- ARGV from 3 on: user agent, channel and incarnation. The answer is one digit for each.
local found = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local there = redis.call('HGET', base .. 's' .. string.sub(id, 1, 16), string.sub(id, 17, 32))
  found[i - 2] = there and string.sub(there, 1, 12) == string.sub(id, 33) and '1' or '0'
end
return {0, table.concat(found)}
