-- ARGV[1] is the caller's leader epoch, ARGV[2] the position that it needs.
local at = standing()
if not at[1] then return {2, '0'} end
local since_begin = tonumber(ARGV[1]) - tonumber(at[1])
if since_begin < 0 then return {1} end
if tonumber(at[2]) < tonumber(ARGV[2]) then
  -- Something was lost: nobody may take a no for an answer any more.
  redis.call('HDEL', meta, 'c')
  return {2, at[2]}
end
counted = at[5]
if since_begin > 0 then
  -- What was lost is that this leader epoch has begun.
  admit()
  own(ARGV[1])
end
some_aside = at[4]
