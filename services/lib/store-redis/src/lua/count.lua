-- ARGV[3]: user agent.
local function count(who)
  return redis.call('HLEN', base .. 's' .. who)
end

return answer({0, of(ARGV[3], count)})
