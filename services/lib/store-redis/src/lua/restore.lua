-- ARGV: leader epoch, position, user agent, whether this is the last of its changes, whether they take memory, the
-- changes.
if at[2] ~= ARGV[2] then return {2, at[2]} end
local who, failed = ARGV[3], false
if not is_aside(who) then return {0} end
if ARGV[5] == '0' then admit() end
if not waiting() then return faults().lose() end
take_all(6, function() return failed end, function() failed = true end)
if failed then
  faults().put_aside(who)
  faults().leave_due()
  return {3, who}
end
if ARGV[4] == '1' then
  admit()
  redis.call('HDEL', meta, 'x' .. who)
  if redis.call('HINCRBY', meta, 'x', -1) <= 0 then
    redis.call('HDEL', meta, 'x', 'a')
    redis.call('HSET', meta, 'p', ARGV[2])
  end
end
return {0}
