-- ARGV: leader epoch, position, user agent, now, messages, octets, then urgency and place of each level, in the order of
-- the page. The answer is 1 if nothing else waits from these places on, otherwise 0, then messages as `apply` keeps them.
-- Where none was found within reach, it is 2, an index into these pairs, from 0, and the place of that level to go on
-- from.

-- Most messages that are all read at once and then put in order: about as many as are in flight to one user agent.
local NEAR = 128

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

-- Whether the message has not expired, and the octets of its body.
local function living(value, score, now)
  local _, sequence, expires, size = struct.unpack('>I8I8I8I4', value)
  assert(sequence == tonumber(score))
  return now < expires, size
end

-- All that waits from `least` on, each read once.
local function near(box, queue, now, messages, octets, least)
  local levels, found, sum = {}, {0, 1}, 0
  for place = 7, #ARGV, 2 do
    levels[tonumber(ARGV[place])] = {after = tonumber(ARGV[place + 1])}
  end
  local all = redis.call('ZRANGEBYSCORE', queue, '(' .. least, '+inf', 'WITHSCORES')
  for i = 1, #all, 2 do
    local value = redis.call('HGET', box, string.sub(all[i], 1, 16))
    local level, lives, size = levels[urgency_of(value)], living(value, all[i + 1], now)
    if level and lives and tonumber(all[i + 1]) > level.after then
      level[#level + 1], level[-#level - 1] = value, size
    end
  end
  for place = 7, #ARGV, 2 do
    local level = levels[tonumber(ARGV[place])]
    for i, value in ipairs(level) do
      if #found - 2 >= messages or (#found > 2 and sum >= octets) then
        found[2] = 0
        return found
      end
      found[#found + 1] = value
      sum = sum + level[-i]
    end
  end
  return found
end

-- One level after the other, each from its place on.
local function far(box, queue, now, messages, octets)
  local levels, found, sum, left = {}, {0, 0}, 0, REACH
  for place = 7, #ARGV, 2 do
    local wanted, after, step = tonumber(ARGV[place]), ARGV[place + 1], nil
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
        if levels[member] == wanted then
          value = value or redis.call('HGET', box, string.sub(member, 1, 16))
          local lives, size = living(value, after, now)
          if lives then
            found[#found + 1] = value
            sum = sum + size
            if #found - 2 >= messages or sum >= octets then return found end
          end
        end
      end
      if left <= 0 then return #found > 2 and found or {0, 2, (place - 7) / 2, after} end
    until #step < 200
  end
  found[2] = 1
  return found
end

local function page(who, now, messages, octets)
  local box, queue = base .. 'm' .. who, base .. 'q' .. who
  if messages == 0 then return {0, 0} end
  check(box, queue)
  local least = ARGV[8]
  for place = 10, #ARGV, 2 do
    if tonumber(ARGV[place]) < tonumber(least) then least = ARGV[place] end
  end
  local left = redis.call('ZCOUNT', queue, '(' .. least, '+inf')
  if left == 0 then return {0, 1} end
  return (left <= NEAR and near or far)(box, queue, now, messages, octets, least)
end

return answer(of(ARGV[3], page, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])))
