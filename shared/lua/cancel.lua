-- ARGV: id, ended at, retention. Returns 'missing', 'terminal' or 'canceled'.
local id = ARGV[1]
local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'origin', 'voxelq_execution')
local status, queue = job[1], job[2]
if not status or not queue or not redis.call('ZSCORE', INDEX, id) then return 'missing' end
if status ~= 'queued' and status ~= 'started' then return 'terminal' end
if status == 'queued' then
    redis.call('LREM', RQ_QUEUE .. queue, 0, id)
    redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id)
    for _, priority in ipairs(PRIORITIES) do redis.call('ZREM', PENDING .. priority, id) end
end
-- Without its lease, whatever its worker still computes is dropped when it settles.
if job[3] then release(id, job[3], queue) end
finish(id, queue, status, 'canceled', RQ_CANCELED, tonumber(ARGV[3]), ARGV[2])
return 'canceled'
