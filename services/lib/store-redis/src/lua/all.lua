-- ARGV[3]: user agent. The answers are channel and subscription of each.
local function all(who)
  local found = redis.call('HGETALL', base .. 's' .. who)
  table.insert(found, 1, 0)
  return found
end

return answer(of(ARGV[3], all))
