-- End the leases of a dead worker at once instead of when they run out. ARGV: worker.
-- Returns how many leases ended.
local DEATHS_KEPT_S, LONGEST_PAUSE_S = 600, 60
local ended = 0
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
    for _, member in ipairs(redis.call('ZRANGE', RQ_WIP .. queue, 0, -1)) do
        if redis.call('HGET', RQ_EXECUTION .. member, 'worker_name') == ARGV[1] then
            redis.call('ZADD', RQ_WIP .. queue, 'XX', KNOWN_DEAD, member)
            ended = ended + 1
        end
    end
end
-- The bundle that it was loading may have killed it, or may not: delay the next attempt a little.
local bundle = stop_loading(ARGV[1])
if bundle then
    local deaths = redis.call('INCR', LOADING_DEATHS .. bundle)
    redis.call('EXPIRE', LOADING_DEATHS .. bundle, DEATHS_KEPT_S)
    local pause_s = math.min(LONGEST_PAUSE_S, 2 ^ math.min(deaths - 1, 10))
    redis.call('SET', LOADING_PAUSE .. bundle, 1, 'EX', pause_s)
end
forget_worker(ARGV[1])
return ended
