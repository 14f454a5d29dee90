-- Mark drawn jobs as started. ARGV: worker, its facts as JSON, lease seconds, started at, deadline
--       in seconds from now, then id, execution, queue of each job.
-- Returns for each job 1, or 0 when it was cancelled or lost since it was drawn.
local worker, started_at = ARGV[1], ARGV[4]
local deadline = stamp(now() + tonumber(ARGV[5]))
local begun, first = {}, nil
for i = 6, #ARGV, 3 do
    local id, execution, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local held = redis.call('ZSCORE', RQ_WIP .. queue, id .. ':' .. execution)
    local status = redis.call('HGET', RQ_JOB .. id, 'status')
    if held and not is_live(status) then -- RQ's own tools deleted or ended it
        release(id, execution, queue)
        redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id)
        held = false
    end
    if held and status == 'queued' then
        redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id)
        redis.call('HSET', RQ_JOB .. id, 'status', 'started', 'started_at', started_at,
            'last_heartbeat', started_at, 'worker_name', worker, 'voxelq_deadline', deadline,
            'voxelq_stage', 'load', 'voxelq_progress', 0)
        redis.call('HDEL', RQ_JOB .. id, 'voxelq_undone_draws')
        redis.call('HINCRBY', RQ_JOB .. id, 'voxelq_attempts', 1)
        move(id, 'queued', 'started')
    end
    if held then first = first or id end
    begun[#begun + 1] = held and 1 or 0
end
store_worker(worker, ARGV[2], ARGV[3])
set_rq_worker(worker, 'busy', first)
return begun
