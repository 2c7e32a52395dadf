-- ARGV[3]: user agent.
local function usage(who)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  check(box, queue)
  return {0, redis.call('ZCARD', queue), redis.call('HGET', box, 'o')}
end

return answer(of(ARGV[3], usage))
