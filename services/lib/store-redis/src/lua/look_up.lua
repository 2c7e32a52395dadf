-- ARGV: user agent, channel and incarnation.
local who = string.sub(ARGV[1], 1, 16)
local there = redis.call('HGET', base .. 's' .. who, string.sub(ARGV[1], 17, 32))
if there and string.sub(there, 1, 12) == string.sub(ARGV[1], 33) then
  return {0, redis.call('ZCARD', base .. 'q' .. who), redis.call('HGET', base .. 'm' .. who, 'o')}
end
local complete = redis.call('HGET', meta, 'c')
if not complete then return {2} end
local now = life()
if complete ~= now and complete ~= '' and now ~= '' then return {2} end
return {1}
