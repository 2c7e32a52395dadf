-- Id, since, sequence, channel and incarnation of a message that has to be there. The incarnation is in the message
-- alone, where every release writes it: after the tag and the length of the head come id, user agent and channel, 18
-- octets each (`stored.proto`), then tag and length of the incarnation.
local function stored_as(box, id)
  local value = redis.call('HGET', box, id)
  assert(value and #value >= 29)
  local message = 30 + string.byte(value, 29)
  local head = string.match(value, '^\10[\128-\255]*[%z\1-\127]()', message)
  assert(message >= 46 and head and string.sub(value, head + 54, head + 55) == '\34\12')
  local incarnation = string.sub(value, head + 56, head + 67)
  assert(#incarnation == 12)
  return id .. string.sub(value, 1, 16) .. string.sub(value, 30, 45) .. incarnation
end

-- Whether messages wait at all, both their order and what they are say.
local function check(box, queue)
  assert(redis.call('EXISTS', box) == redis.call('EXISTS', queue))
end
