-- ARGV: tenure, position, user agent, after, now, messages, octets. The answers are as `apply` keeps messages.
local box, queue = base .. 'm' .. ARGV[3], base .. 'q' .. ARGV[3]
local after, now, messages, octets = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local page, sum = {0}, 0
if messages == 0 then return page end
while true do
  local step = redis.call('ZRANGEBYSCORE', queue, '(' .. after, '+inf', 'LIMIT', 0, math.min(messages, 100))
  if #step == 0 then return page end
  for _, member in ipairs(step) do
    local value = redis.call('HGET', box, string.sub(member, 1, 16))
    local _, sequence, expires, size = struct.unpack('>I8I8I8I4', value)
    after = string.format('%.0f', sequence)
    if now < expires then
      page[#page + 1] = value
      sum = sum + size
      if #page > messages or sum >= octets then return page end
    end
  end
end
