-- ARGV: id. Returns 'missing', 'live' or 'purged'.
local id = ARGV[1]
local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'origin', 'voxelq_idempotency')
local status, queue = job[1], job[2]
if not status then return 'missing' end
if status == 'queued' or status == 'started' then return 'live' end
redis.call('DEL', RQ_JOB .. id, RQ_RESULTS .. id, RQ_EXECUTIONS .. id)
for _, registry in ipairs({RQ_FINISHED, RQ_FAILED, RQ_CANCELED}) do
    redis.call('ZREM', registry .. queue, id)
end
redis.call('ZREM', INDEX, id)
for _, state in ipairs({'queued', 'started', 'finished', 'failed', 'canceled'}) do
    redis.call('ZREM', INDEX .. ':' .. state, id)
end
if job[3] and job[3] ~= '' then redis.call('DEL', IDEMPOTENCY .. job[3]) end
return 'purged'
