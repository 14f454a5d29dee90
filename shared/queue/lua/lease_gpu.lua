-- Lease to a worker the GPU with the fewest live workers; of equals the one named first.
-- ARGV: worker, seconds of the first lease, then the GPUs it may have, at least one.
-- Returns the number of the chosen GPU among them, from 1.
local worker, time = ARGV[1], now()
-- A frozen worker may go on later, so that leases are kept for an hour after their end.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', GPU_LEASES, '-inf', stamp(time - 3600))) do
    leave_gpu(gone)
end
-- If the clock was stepped back, leases end too late: shorten them to one that starts now.
local latest = stamp(time + tonumber(ARGV[2]))
for _, other in ipairs(redis.call('ZRANGEBYSCORE', GPU_LEASES, '(' .. latest, '+inf')) do
    redis.call('ZADD', GPU_LEASES, latest, other)
end
local users = {}
for _, other in ipairs(redis.call('ZRANGEBYSCORE', GPU_LEASES, stamp(time), '+inf')) do
    local gpu = other ~= worker and redis.call('HGET', GPUS, other)
    if gpu then users[gpu] = (users[gpu] or 0) + 1 end
end
local best = 3
for i = 4, #ARGV do
    if (users[ARGV[i]] or 0) < (users[ARGV[best]] or 0) then best = i end
end
redis.call('HSET', GPUS, worker, ARGV[best])
redis.call('ZADD', GPU_LEASES, latest, worker)
return best - 2
