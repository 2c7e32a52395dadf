-- Which life of the server this is. It changes with a restart and with a fail-over. Empty: it may not be asked.
local function life()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
end
