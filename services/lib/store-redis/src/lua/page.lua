-- ARGV: leader epoch, position, user agent, after, now, messages, octets. The answers are as `apply` keeps messages.
local function page(who, after, now, messages, octets)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  local found, sum = {0}, 0
  if messages == 0 then return found end
  while true do
    local step = redis.call(
      'ZRANGEBYSCORE', queue, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, math.min(messages, 100))
    if #step == 0 then
      check(box, queue)
      return found
    end
    for i = 1, #step, 2 do
      local value = redis.call('HGET', box, string.sub(step[i], 1, 16))
      local _, sequence, expires, size = struct.unpack('>I8I8I8I4', value)
      after = string.format('%.0f', step[i + 1])
      assert(string.format('%.0f', sequence) == after)
      if now < expires then
        found[#found + 1] = value
        sum = sum + size
        if #found > messages or sum >= octets then return found end
      end
    end
  end
end

return answer(of(ARGV[3], page, ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])))
