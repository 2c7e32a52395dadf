-- ARGV[3] and [4]: the user agent to go on after, '' at first, and how many at most. The answers are user agents with a
-- webhook.
local after = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local found = {0}
for _, who in ipairs(redis.call('ZRANGEBYLEX', base .. 'webhooks', after, '+', 'LIMIT', 0, ARGV[4])) do
  if #who == 16 then found[#found + 1] = who end
end
return found
