-- ARGV from 3 on: user agents.
if not waiting() then return lose() end
for i = 3, #ARGV do put_aside(ARGV[i]) end
leave_due()
return {0}
