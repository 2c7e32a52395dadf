-- ARGV: leader epoch, position, user agent, message id. The answer is as `apply` keeps messages.
local function message(who, id)
  return redis.call('HGET', base .. 'm' .. who, id)
end

return answer({0, of(ARGV[3], message, ARGV[4])})
