-- KEYS[1] is the partition's key `meta`; the names of all its other keys begin as that one does.
local meta = KEYS[1]
local base = string.sub(meta, 1, -5)
local due = base .. 'due'

-- In seconds. The crate's documentation says why the second has to be so much longer than the first.
local META_LIFE, KEY_LIFE, CLAIM_LIFE = 2592000, 5184000, 604800

-- Redis refuses the first write of a script, and none after it, when its memory is full. This one takes none, so it
-- is not refused: it stands before writes that have to be possible then.
local function admit()
  redis.call('HDEL', meta, '')
end

-- A stored subscription is incarnation and instant, and a restriction of 32 or 33 octets if it has one; or, when it is
-- longer, 255 and a webhook as well.
local function has_webhook(subscription)
  return #subscription > 53 and string.byte(subscription, 21) == 255
end

local function is_subscription(octets)
  local length = #octets
  return length == 20 or length == 52 or length == 53 or has_webhook(octets)
end
