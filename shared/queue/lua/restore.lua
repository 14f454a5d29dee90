-- Write a job that the queue lost, from its record in the store; an existing job is left unchanged.
-- ARGV: id, model ref, priority, queue, arrival (Unix seconds), the execution that finished it or '',
--       its worker, started at, ended at, ended (Unix seconds), retention, RQ's encoded result,
--       then the fields and values of RQ's hash.
-- Returns 1, or 0 if the job exists.
local id, model, priority, queue, arrival, execution = unpack(ARGV, 1, 6)
if redis.call('EXISTS', RQ_JOB .. id) == 1 then return 0 end
redis.call('HSET', RQ_JOB .. id, 'voxelq_model', model, 'voxelq_priority', priority,
    'voxelq_arrival', arrival, 'voxelq_idempotency', '', unpack(ARGV, 13))
redis.call('SADD', QUEUES, queue)
redis.call('ZADD', INDEX, 0, id)
if execution == '' then
    requeue(id, queue)
    move(id, nil, 'queued')
else
    local worker, started_at, ended_at = ARGV[7], ARGV[8], ARGV[9]
    -- 'voxelq_settled' makes a later settle of the same execution a repetition
    redis.call('HSET', RQ_JOB .. id, 'worker_name', worker, 'started_at', started_at,
        'voxelq_attempts', 1, 'voxelq_settled', execution)
    finish(id, queue, nil, 'finished', RQ_FINISHED, tonumber(ARGV[11]), ended_at,
        {'type', 1, 'worker_name', worker, 'return_value', ARGV[12], 'execution_id', execution})
    redis.call('ZADD', ENDED, math.min(now(), tonumber(ARGV[10])), id)
end
return 1
