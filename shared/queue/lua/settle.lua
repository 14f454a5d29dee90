-- Settle a batch: each job gets its own outcome, unless its lease was lost.
-- ARGV: worker, its facts as JSON, lease seconds, ended at, retention, max attempts,
--       seconds the batch cost, count of metrics, then name and amount of each,
--       then id, execution, queue, outcome, problem or '', RQ's encoded result of each job.
-- Returns for each job 1, or 0 if its outcome was dropped.
local worker, ended_at = ARGV[1], ARGV[4]
local retention_s, max_attempts = tonumber(ARGV[5]), tonumber(ARGV[6])
local batch_s, metrics = tonumber(ARGV[7]), tonumber(ARGV[8])
local settled, finished, failed, repeated = {}, 0, 0, false

for i = 9 + 2 * metrics, #ARGV, 6 do
    local id, execution, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local outcome, problem, result = ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
    local held = release(id, execution, queue)
    local status = redis.call('HGET', RQ_JOB .. id, 'status')
    if held and not is_live(status) then -- RQ's own tools deleted or ended it
        held = false
        count('outcomes_dropped_total', 1)
    elseif not held then
        -- an earlier call may have settled it, with its answer lost on the way
        held = redis.call('HGET', RQ_JOB .. id, 'voxelq_settled') == execution
        if held then repeated = true else count('outcomes_dropped_total', 1) end
    else
        redis.call('HSET', RQ_JOB .. id, 'voxelq_settled', execution)
        if outcome == 'finished' then
            finish(id, queue, status, 'finished', RQ_FINISHED, retention_s, ended_at,
                {'type', 1, 'worker_name', worker, 'return_value', result, 'execution_id', execution})
            finished = finished + 1
        elseif outcome == 'failed' then
            fail(id, queue, status, problem, result, worker, retention_s, ended_at)
            failed = failed + 1
        elseif outcome == 'returned' and not returned_too_often(id) then
            return_uncharged(id, queue)
        elseif lose(id, queue, max_attempts, problem, result, worker, retention_s, ended_at) then
            failed = failed + 1
        else
            count('jobs_retried_total', 1)
        end
    end
    settled[#settled + 1] = held and 1 or 0
end

if not repeated and #settled > 0 then
    for i = 9, 7 + 2 * metrics, 2 do count(ARGV[i], ARGV[i + 1]) end
    local cost = batch_s / #settled
    local known = tonumber(redis.call('HGET', METRICS, 'seconds_per_scan') or cost)
    local size = tonumber(redis.call('HGET', METRICS, 'scans_per_batch') or #settled)
    redis.call('HSET', METRICS, 'seconds_per_scan', 0.8 * known + 0.2 * cost,
        'scans_per_batch', 0.8 * size + 0.2 * #settled)
end
if finished > 0 then
    local minute = FINISHED_IN .. math.floor(now() / 60)
    redis.call('INCRBY', minute, finished)
    redis.call('EXPIRE', minute, 60 * (RATE_MINUTES + 1))
end
store_worker(worker, ARGV[2], ARGV[3])
local current = first_job(ARGV[2])
set_rq_worker(worker, current and 'busy' or 'idle', current)
if redis.call('EXISTS', RQ_WORKER .. worker) == 1 then
    redis.call('HINCRBY', RQ_WORKER .. worker, 'successful_job_count', finished)
    redis.call('HINCRBY', RQ_WORKER .. worker, 'failed_job_count', failed)
    redis.call('HINCRBYFLOAT', RQ_WORKER .. worker, 'total_working_time', batch_s)
end
return settled
