-- The number of a protobuf varint, and the place after it.
local function varint(octets, at)
  local number, share = 0, 1
  repeat
    local octet = string.byte(octets, at)
    assert(octet)
    number, share, at = number + octet % 128 * share, share * 128, at + 1
  until octet < 128
  return number, at
end

-- The receipt that was asked for in the head of a message from one place to another, or nothing: the last field, number
-- 15, of 48 octets. A text can end like one, so then all fields are gone through.
local function receipt_in(octets, at, to)
  if string.sub(octets, to - 49, to - 48) ~= '\122\48' then return '' end
  while at < to - 49 do
    local kind, number = string.byte(octets, at) % 8
    assert(kind == 0 or kind == 2)
    number, at = varint(octets, at + 1)
    if kind == 2 then at = at + number end
  end
  return at == to - 49 and string.sub(octets, to - 47, to) or ''
end

-- Id, since, sequence, channel and incarnation of a message that has to be there, and the receipt that was asked for, if
-- one was. The incarnation and the receipt are in the message alone: after the tag and the length of the head come id,
-- user agent and channel, 18 octets each (`stored.proto`), then tag and length of the incarnation.
local function stored_as(box, id)
  local value = redis.call('HGET', box, id)
  assert(value and #value >= 29)
  local message = 30 + string.byte(value, 29)
  assert(message >= 46 and string.byte(value, message) == 10)
  local length, head = varint(value, message + 1)
  assert(string.sub(value, head + 54, head + 55) == '\34\12')
  local incarnation = string.sub(value, head + 56, head + 67)
  assert(#incarnation == 12)
  local receipt = receipt_in(value, head + 68, head + length - 1)
  return id .. string.sub(value, 1, 16) .. string.sub(value, 30, 45) .. incarnation .. receipt
end

-- Whether messages wait at all, both their order and what they are say.
local function check(box, queue)
  assert(redis.call('EXISTS', box) == redis.call('EXISTS', queue))
end
