-- What cannot be read concerns the one user agent whose it is. Its name stays in `meta`, as `x` and the name, and all
-- that was kept of it is taken away, until its owner restores it from the changelog. Nothing is answered for it
-- meanwhile.

-- Whether anybody is set aside: seldom, so that the others are not looked for.
local some_aside = false

local function is_aside(who)
  return some_aside and redis.call('HEXISTS', meta, 'x' .. who) == 1
end

-- Enters the position of the view.
local function stand(position)
  if some_aside then
    redis.call('HSET', meta, 'p', '0', 'a', position)
  else
    redis.call('HSET', meta, 'p', position)
  end
end

-- The whole view is to be told again, from the start.
local function lose()
  admit()
  redis.call('DEL', due)
  redis.call('HSET', meta, 'p', '0')
  redis.call('HDEL', meta, 'c', 'a')
  return {2, '0'}
end

-- How many messages wait, false when somebody else has written where their ends are.
local function waiting()
  local count = redis.pcall('ZCARD', due)
  return type(count) == 'number' and count
end

-- Those who were set aside by this call.
local leaving = {}

local function put_aside(who)
  admit()
  some_aside = true
  leaving[who] = true
  if redis.call('HSETNX', meta, 'x' .. who, '1') == 1 then redis.call('HINCRBY', meta, 'x', 1) end
  local position = redis.call('HGET', meta, 'p')
  if position and position ~= '0' then stand(position) end
  redis.call('DEL', base .. 's' .. who, base .. 'q' .. who, base .. 'm' .. who)
end

-- Takes away the ends of their messages. That goes through all of the partition, for what was kept of them does not
-- say: once in a call, when everybody is known.
local function leave_due()
  if next(leaving) == nil then return end
  if not waiting() then return lose() end
  local from = 0
  repeat
    local step, gone = redis.call('ZRANGE', due, from, from + 999), 0
    for _, member in ipairs(step) do
      if leaving[string.sub(member, 1, 16)] then gone = gone + redis.call('ZREM', due, member) end
    end
    from = from + #step - gone
  until #step == 0
end

-- Does something with what is kept of one user agent, and says whether that could be read. What the server may not or
-- cannot do at all is nobody's fault, and fails the call.
local function try(deed, ...)
  local done, answer = pcall(deed, ...)
  if done then return true, answer end
  local text = type(answer) == 'table' and answer.err or tostring(answer)
  local code = string.match(text, '%f[%u](%u%u+) ')
  local of_value = string.find(text, 'not an integer', 1, true) or string.find(text, 'overflow', 1, true)
  if code == nil or code == 'WRONGTYPE' or (code == 'ERR' and of_value) then return false end
  error(answer)
end

-- Those of whom nothing can be answered, after the number that says so.
local unreadable = {3}

-- What `deed` finds of a user agent.
local function of(who, deed, ...)
  if not is_aside(who) then
    local done, answer = try(deed, who, ...)
    if done then return answer end
    put_aside(who)
  end
  unreadable[#unreadable + 1] = who
  return false
end

-- What is found, unless something could not be.
local function answer(found)
  leave_due()
  return #unreadable > 1 and unreadable or found
end
