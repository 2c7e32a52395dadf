return {0, redis.call('ZCARD', base .. 'due')}
