-- ARGV[3]: user agent.
return {0, redis.call('HLEN', base .. 's' .. ARGV[3])}
