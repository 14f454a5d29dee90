-- A worker is known to be dead: its leases end now rather than by silence. ARGV: worker.
-- Returns how many ended.
local ended = 0
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
    for _, member in ipairs(redis.call('ZRANGE', RQ_WIP .. queue, 0, -1)) do
        if redis.call('HGET', RQ_EXECUTION .. member, 'worker_name') == ARGV[1] then
            redis.call('ZADD', RQ_WIP .. queue, 'XX', KNOWN_DEAD, member)
            ended = ended + 1
        end
    end
end
local bundle = redis.call('HGET', LOADING, ARGV[1])
if bundle then -- the deaths that one bundle has caused are counted, so that they come to an end
    redis.call('HDEL', LOADING, ARGV[1])
    redis.call('INCR', LOADING_DEATHS .. bundle)
    redis.call('EXPIRE', LOADING_DEATHS .. bundle, 86400)
end
forget_worker(ARGV[1])
return ended
