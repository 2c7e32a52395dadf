-- ARGV from 3 on: user agent and message id. The answers are as `stored_as` has them.
local function stored(who, id)
  local box = base .. 'm' .. who
  return redis.call('HEXISTS', box, id) == 1 and stored_as(box, id)
end

local found = {0}
for i = 3, #ARGV do
  found[i - 1] = of(string.sub(ARGV[i], 1, 16), stored, string.sub(ARGV[i], 17))
end
return answer(found)
