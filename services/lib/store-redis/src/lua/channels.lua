-- ARGV[3]: user agent.
local function channels(who)
  local found = {0}
  for _, channel in ipairs(redis.call('HKEYS', base .. 's' .. who)) do
    found[#found + 1] = channel
  end
  return found
end

return answer(of(ARGV[3], channels))
