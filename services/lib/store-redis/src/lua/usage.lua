-- ARGV[3]: user agent.
return {0, redis.call('ZCARD', base .. 'q' .. ARGV[3]), redis.call('HGET', base .. 'm' .. ARGV[3], 'o')}
