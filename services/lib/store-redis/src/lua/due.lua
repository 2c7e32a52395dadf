-- ARGV: leader epoch, position, now, limit. The answers are user agent and `stored_as`. Who cannot be read is
-- set aside; that keeps nobody else's messages from their end. Nor does what a restore that was broken off has left of
-- somebody: all of it is taken away, for the next try tells all again, and so does an owner of the first release, which
-- takes what is there for whole.
if not waiting() then return faults().lose() end
local function stored(who, id)
  return stored_as(base .. 'm' .. who, id)
end

local found = {0}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])) do
  local who = string.sub(member, 1, 16)
  if #member ~= 32 then
    redis.call('ZREM', due, member)
  elseif is_aside(who) then
    faults().put_aside(who)
  else
    local value = of(who, stored, string.sub(member, 17))
    if value then found[#found + 1] = who .. value end
  end
end
if rare then rare.leave_due() end

-- The owner asks this often, and the view has just been found to hold what it should: if it was complete before a
-- fail-over, it is still.
local complete = redis.call('HGET', meta, 'c')
if complete then
  local now = life()
  if now ~= complete and now ~= '' then
    admit()
    redis.call('HSET', meta, 'c', now)
  end
end
return found
