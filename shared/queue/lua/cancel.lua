-- Cancel a job. ARGV: id, ended at, retention. Returns 'missing', 'terminal' or 'canceled'.
local id = ARGV[1]
local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'origin', 'voxelq_execution')
local status, queue = job[1], job[2]
local exists = redis.call('EXISTS', RQ_JOB .. id) == 1 and redis.call('ZSCORE', INDEX, id)
if not exists then return 'missing' end
if is_live(status) and not queue then
    -- its record is damaged: it is in a queue that it does not name, and can only be purged
    for _, name in ipairs(redis.call('SMEMBERS', QUEUES)) do
        redis.call('LREM', RQ_QUEUE .. name, 0, id)
        redis.call('LREM', RQ_QUEUE .. name .. RQ_INTERMEDIATE, 0, id)
    end
    for _, priority in ipairs(PRIORITIES) do redis.call('ZREM', PENDING .. priority, id) end
    redis.call('HSET', RQ_JOB .. id, 'status', 'failed')
    unlist(id)
    move(id, nil, 'failed')
    return 'terminal'
end
if not is_live(status) then return 'terminal' end
if status == 'queued' then
    redis.call('LREM', RQ_QUEUE .. queue, 0, id)
    redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id)
    for _, priority in ipairs(PRIORITIES) do redis.call('ZREM', PENDING .. priority, id) end
end
-- Without the lease, the outcome is dropped when the worker settles.
if job[3] then release(id, job[3], queue) end
finish(id, queue, status, 'canceled', RQ_CANCELED, tonumber(ARGV[3]), ARGV[2])
return 'canceled'
