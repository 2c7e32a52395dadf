-- What cannot be read concerns the one user agent whose it is. Its name stays in `meta`, as `x` and the name, and all
-- that was kept of it is taken away, until its owner restores it from the changelog. Nothing is answered for it
-- meanwhile.

-- Whether anybody is set aside: seldom, so that the others are not looked for.
local some_aside = false

local function is_aside(who)
  return some_aside and redis.call('HEXISTS', meta, 'x' .. who) == 1
end

-- How many messages wait, false when somebody else has written where their ends are.
local function waiting()
  local count = redis.pcall('ZCARD', due)
  return type(count) == 'number' and count
end

-- The rare half of this part. A script makes all its functions anew in each call: these only when they are needed.
local rare = false

local function faults()
  if rare then return rare end

  -- Those who were set aside by this call.
  local leaving = {}

  -- The whole view is to be told again, from the start.
  local function lose()
    admit()
    redis.call('DEL', due)
    redis.call('HSET', meta, 'p', '0')
    redis.call('HDEL', meta, 'c', 'a')
    return {2, '0'}
  end

  local function put_aside(who)
    admit()
    some_aside = true
    leaving[who] = true
    if redis.call('HSETNX', meta, 'x' .. who, '1') == 1 then redis.call('HINCRBY', meta, 'x', 1) end
    local position = redis.call('HGET', meta, 'p')
    if position and position ~= '0' then redis.call('HSET', meta, 'p', '0', 'a', position) end
    redis.call('DEL', base .. 's' .. who, base .. 'q' .. who, base .. 'm' .. who)
  end

  -- Takes away the ends of their messages. That goes through all of the partition, for what was kept of them does not
  -- say: once in a call, when everybody is known.
  local function leave_due()
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

  -- True when an error comes of what is kept of one user agent. An error of what the server may not or cannot do at
  -- all is nobody's fault, and fails the call.
  local function is_of_value(failure)
    local text = type(failure) == 'table' and failure.err or tostring(failure)
    local code = string.match(text, '%f[%u](%u%u+) ')
    local of_value = string.find(text, 'not an integer', 1, true) or string.find(text, 'overflow', 1, true)
    if code == nil or code == 'WRONGTYPE' or (code == 'ERR' and of_value) then return true end
    error(failure)
  end

  rare = {lose = lose, put_aside = put_aside, leave_due = leave_due, is_of_value = is_of_value}
  return rare
end

-- Those of whom nothing can be answered, after the number that says so.
local unreadable = false

-- What `deed` finds of a user agent.
local function of(who, deed, ...)
  if not is_aside(who) then
    local done, answer = pcall(deed, who, ...)
    if done then return answer end
    if faults().is_of_value(answer) then faults().put_aside(who) end
  end
  unreadable = unreadable or {3}
  unreadable[#unreadable + 1] = who
  return false
end

-- What is found, unless something could not be.
local function answer(found)
  if rare then rare.leave_due() end
  return unreadable or found
end
