-- A worker is known to be dead: its leases end now rather than by silence. ARGV: worker.
-- Returns how many ended.
local time, ended = stamp(now()), 0
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
    for _, member in ipairs(redis.call('ZRANGE', RQ_WIP .. queue, 0, -1)) do
        if redis.call('HGET', RQ_EXECUTION .. member, 'worker_name') == ARGV[1] then
            redis.call('ZADD', RQ_WIP .. queue, 'XX', time, member)
            ended = ended + 1
        end
    end
end
redis.call('ZREM', WORKERS, ARGV[1])
redis.call('DEL', WORKER .. ARGV[1])
return ended
