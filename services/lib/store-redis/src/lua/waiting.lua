local count = waiting()
if not count then return lose() end
return {0, count}
