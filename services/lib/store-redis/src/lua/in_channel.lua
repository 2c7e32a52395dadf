-- ARGV: tenure, position, user agent, channel. The answers are id, since and sequence.
local box, queue = base .. 'm' .. ARGV[3], base .. 'q' .. ARGV[3]
local found = {0}
for _, member in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
  if string.sub(member, 17) == ARGV[4] then
    local id = string.sub(member, 1, 16)
    found[#found + 1] = id .. string.sub(redis.call('HGET', box, id), 1, 16)
  end
end
return found
