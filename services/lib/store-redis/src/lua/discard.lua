-- ARGV: leader epoch, the identity of the changelog, where to search on: '' at first. The answer is where to search on,
-- 0 at last. One call goes through a bounded part of all keys of the server. Who holds which socket stays: no changelog
-- says that.
local cursor = ARGV[3]
if cursor == '' then
  admit()
  -- Until the search is over, the view is of no changelog.
  redis.call('HSET', meta, 't', ARGV[1], 'p', '0', 'h', string.rep('\0', 16))
  redis.call('HDEL', meta, 'c', 'a')
  redis.call('EXPIRE', meta, META_LIFE)
  cursor = '0'
else
  local leader_epoch = standing()[1]
  if not leader_epoch then return {2, '0'} end
  if tonumber(leader_epoch) > tonumber(ARGV[1]) then return {1} end
end

local pattern = string.gsub(base, '[%*%?%[%]\\]', '\\%0') .. '*'
local step = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
for _, key in ipairs(step[2]) do
  local name = string.sub(key, #base + 1)
  if name == 'due' or name == 'webhooks' or (#name == 17 and string.find(name, '^[smq]')) then redis.call('UNLINK', key) end
end
if step[1] == '0' then redis.call('HSET', meta, 'h', ARGV[2]) end
return {0, step[1]}
