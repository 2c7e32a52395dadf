-- ARGV: tenure, position, now, limit. The answers are user agent, id, since and sequence.
local due = base .. 'due'
local found = {0}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])) do
  local value = redis.call('HGET', base .. 'm' .. string.sub(member, 1, 16), string.sub(member, 17))
  found[#found + 1] = member .. string.sub(value, 1, 16)
end

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
