-- ARGV from 3 on: user agents.
if not waiting() then return faults().lose() end
for i = 3, #ARGV do faults().put_aside(ARGV[i]) end
if rare then rare.leave_due() end
return {0}
