-- Delete a terminal job, or what is left of one whose hash is gone.
-- Returns 'live' (and keeps it), 'missing' or 'purged'.
local function forget(id)
    local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'origin', 'voxelq_idempotency')
    local status, queue = job[1], job[2]
    if is_live(status) then return 'live' end
    local exists = redis.call('EXISTS', RQ_JOB .. id) == 1
    redis.call('DEL', RQ_JOB .. id, RQ_RESULTS .. id, RQ_EXECUTIONS .. id)
    local queues = queue and {queue} or redis.call('SMEMBERS', QUEUES)
    for _, name in ipairs(queues) do
        for _, registry in ipairs({RQ_FINISHED, RQ_FAILED, RQ_CANCELED}) do
            redis.call('ZREM', registry .. name, id)
        end
    end
    for _, priority in ipairs(PRIORITIES) do redis.call('ZREM', PENDING .. priority, id) end
    redis.call('ZREM', INDEX, id)
    unlist(id)
    if job[3] and job[3] ~= '' then redis.call('DEL', IDEMPOTENCY .. job[3]) end
    return exists and 'purged' or 'missing'
end
