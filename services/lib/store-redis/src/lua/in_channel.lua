-- ARGV: leader epoch, position, user agent, channel. The answers are as `stored_as` has them.
local function in_channel(who, channel)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  local found, from = {0}, 0
  check(box, queue)

  -- How many to look for, when every message is counted: the first release does not count.
  local left
  if counted and tonumber(redis.call('HGET', box, 'n' .. counted) or -1) == redis.call('ZCARD', queue) then
    left = tonumber(redis.call('HGET', box, 'n' .. channel) or 0)
  end

  -- The newest first: who ends a subscription that was just made need not look through all that others have waiting.
  while left ~= 0 do
    local step = redis.call('ZREVRANGE', queue, from, from + 99)
    if #step == 0 then return found end
    for _, member in ipairs(step) do
      if string.sub(member, 17) == channel then
        found[#found + 1] = stored_as(box, string.sub(member, 1, 16))
        if left then left = left - 1 end
        if left == 0 then return found end
      end
    end
    from = from + 100
  end
  return found
end

return answer(of(ARGV[3], in_channel, ARGV[4]))
