local count = waiting()
if not count then return faults().lose() end
return {0, count}
