local at = redis.call('HMGET', meta, 't', 'p', 'c')
if at[1] and tonumber(at[1]) > tonumber(ARGV[1]) then return {1} end
admit()
redis.call('HSET', meta, 't', ARGV[1])
if not at[1] then
  redis.call('HSET', meta, 'p', '0')
  redis.call('EXPIRE', meta, META_LIFE)
  return {0, '0'}
end
local now = life()
if at[3] and at[3] ~= now and at[3] ~= '' and now ~= '' then redis.call('HDEL', meta, 'c') end
return {0, at[2]}
