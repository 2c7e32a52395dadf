-- ARGV: leader epoch, position, user agent, now, messages, octets, then urgency and place of each level, in the order of
-- the page. The answers are as `apply` keeps messages; or, where none was found within reach, an index into these
-- pairs, from 0, and the place of that level to go on from.

-- Most messages looked at in one call, as Redis does nothing else meanwhile: about a millisecond.
local REACH = 1000

-- Urgency of a stored message, 1 to 4. Behind the incarnation come two times and the time to live, all varints, each
-- left out when it is 0, and then the urgency, which every release writes.
local function urgency_of(value)
  local head = string.match(value, '^\10[\128-\255]*[%z\1-\127]()', 30 + string.byte(value, 29))
  local at, following = head + 68, nil
  repeat
    following = string.match(value, '^[(08][\128-\255]*[%z\1-\127]()', at)
    at = following or at
  until not following
  assert(string.byte(value, at) == 64)
  return string.byte(value, at + 1)
end

local function page(who, now, messages, octets)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  local found, sum, levels, left = {0}, 0, {}, REACH
  if messages == 0 then return found end
  check(box, queue)
  if redis.call('EXISTS', queue) == 0 then return found end
  for place = 7, #ARGV, 2 do
    local level, after, step = tonumber(ARGV[place]), ARGV[place + 1], nil
    repeat
      step = redis.call('ZRANGEBYSCORE', queue, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
      for i = 1, #step, 2 do
        local member, value = step[i], nil
        after = string.format('%.0f', step[i + 1])
        if not levels[member] then
          left = left - 1
          value = redis.call('HGET', box, string.sub(member, 1, 16))
          levels[member] = urgency_of(value)
        end
        if levels[member] == level then
          value = value or redis.call('HGET', box, string.sub(member, 1, 16))
          local _, sequence, expires, size = struct.unpack('>I8I8I8I4', value)
          assert(string.format('%.0f', sequence) == after)
          if now < expires then
            found[#found + 1] = value
            sum = sum + size
            if #found > messages or sum >= octets then return found end
          end
        end
      end
      if left <= 0 then return #found > 1 and found or {0, (place - 7) / 2, after} end
    until #step < 200
  end
  return found
end

return answer(of(ARGV[3], page, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])))
