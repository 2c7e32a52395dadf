-- The answers are those who are set aside: the view is complete but for them.
admit()
redis.call('HSET', meta, 'c', life())
local aside = {0}
if some_aside then
  for _, field in ipairs(redis.call('HKEYS', meta)) do
    if #field == 17 and string.sub(field, 1, 1) == 'x' then aside[#aside + 1] = string.sub(field, 2) end
    if #aside > 10000 then break end
  end
end
return aside
