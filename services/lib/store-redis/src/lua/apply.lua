-- ARGV: leader epoch, position, the position afterwards, whether the changes take memory, then the changes.
local at = standing()
local position = at[2] or '0'
if at[1] and tonumber(at[1]) > tonumber(ARGV[1]) then return {1} end
if at[1] and position == ARGV[3] then return {0} end
if position ~= ARGV[2] then
  if tonumber(position) < tonumber(ARGV[2]) then redis.call('HDEL', meta, 'c') end
  return {2, position}
end

if ARGV[4] == '0' then admit() end
-- The first write, which is refused when the memory is full.
redis.call('HSET', meta, 't', at[1] or ARGV[1])
counted = at[5]
if at[1] ~= ARGV[1] then own(ARGV[1]) end
if not at[1] then redis.call('EXPIRE', meta, META_LIFE) end
if not waiting() then return faults().lose() end

some_aside = at[4]
take_all(5, is_aside)
if rare then rare.leave_due() end
if some_aside then
  redis.call('HSET', meta, 'p', '0', 'a', ARGV[3])
else
  redis.call('HSET', meta, 'p', ARGV[3])
end
return {0}
