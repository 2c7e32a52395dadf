admit()
redis.call('HSET', meta, 'c', life())
return {0}
