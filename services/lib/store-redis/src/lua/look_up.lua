-- ARGV: user agent, channel and incarnation. The answers are 0 and what waits, 1 for a no, 2 when the view does not
-- know, and 4 when what it has of the user agent cannot be read, or is being restored. The last two are for the owner
-- to say.
local who = string.sub(ARGV[1], 1, 16)
local there = redis.pcall('HGET', base .. 's' .. who, string.sub(ARGV[1], 17, 32))
if type(there) == 'table' then return {4} end
if there and string.sub(there, 1, 12) == string.sub(ARGV[1], 33) then
  local messages = redis.pcall('ZCARD', base .. 'q' .. who)
  local octets = redis.pcall('HGET', base .. 'm' .. who, 'o')
  if type(messages) ~= 'number' or type(octets) == 'table' then return {4} end
  return {0, messages, octets}
end
local at = redis.pcall('HMGET', meta, 'c', 'x' .. who)
if at.err then return {2} end
if at[2] or there and not is_subscription(there) then return {4} end
if not at[1] then return {2} end
local complete, now = at[1], life()
if complete ~= now and complete ~= '' and now ~= '' then return {2} end
return {1}
