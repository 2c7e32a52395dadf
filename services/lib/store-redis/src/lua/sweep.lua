-- ARGV[3]: where to search on, '' at first. The answer is where to search on, '' at last, then user agent, channel and
-- subscription of each. One call goes through a bounded part of all keys of the server. Who cannot be read is passed
-- over: the next call about them finds that out.
local pattern = string.gsub(base, '[%*%?%[%]\\]', '\\%0') .. 's*'
local step = redis.call('SCAN', ARGV[3] == '' and '0' or ARGV[3], 'MATCH', pattern, 'COUNT', 1000)
local found = {0, step[1] == '0' and '' or step[1]}
for _, key in ipairs(step[2]) do
  local who = string.sub(key, #base + 2)
  if #who == 16 and not is_aside(who) then
    local all = redis.pcall('HGETALL', key)
    for i = 1, all.err and 0 or #all, 2 do
      found[#found + 1] = who
      found[#found + 1] = all[i]
      found[#found + 1] = all[i + 1]
    end
  end
end
return found
