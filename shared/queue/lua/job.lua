-- Functions that every script may call. Times are Unix seconds on the server's clock, so that
-- different clocks of workers cannot shorten a lease.

-- Seconds. A reader that is further behind reads the jobs themselves to catch up.
local EVENTS_KEPT_S = 15
local WAKE_TOKENS_KEPT = 64
local RATE_MINUTES = 10
-- After this many uncharged returns a job is charged with one loss, so that none returns for ever.
local RETURNS_PER_LOSS = 50
local DEAD_LETTERS_KEPT = 1000
-- The end of a lease is set to this once its worker is known to be dead.
local KNOWN_DEAD = 1
local KEPT_ONCE_FINISHED = {'status', 'origin', 'data', 'description', 'created_at', 'enqueued_at',
    'started_at', 'ended_at', 'worker_name', 'timeout', 'result_ttl', 'failure_ttl',
    'voxelq_attempts', 'voxelq_losses', 'voxelq_returns', 'voxelq_settled', 'voxelq_idempotency'}

local function now()
    local time = redis.call('TIME')
    return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function stamp(seconds)
    -- %.6f: the default format would round a Unix time to whole minutes
    return string.format('%.6f', seconds)
end

local function is_live(status) return status == 'queued' or status == 'started' end

-- Take a job out of every listing by state.
local function unlist(id)
    for _, status in ipairs(STATUSES) do redis.call('ZREM', INDEX .. ':' .. status, id) end
    redis.call('ZREM', ENDED, id)
end

-- List a job under its new state, and write the event that clients wait for.
local function move(id, from, to)
    -- RQ's own tools change a job's state and not our listings: then it is in another listing
    if from and redis.call('ZREM', INDEX .. ':' .. from, id) == 0 then unlist(id) end
    redis.call('ZADD', INDEX .. ':' .. to, 0, id)
    if not is_live(to) then redis.call('ZADD', ENDED, stamp(now()), id) end
    local oldest = string.format('%.0f', (now() - EVENTS_KEPT_S) * 1000)
    redis.call('XADD', EVENTS, 'MINID', '~', oldest, '*', 'job', id, 'status', to)
end

local function wake_one_worker()
    redis.call('LPUSH', WAKE, 1)
    redis.call('LTRIM', WAKE, 0, WAKE_TOKENS_KEPT - 1)
end

local function pending_count()
    local count = 0
    for _, priority in ipairs(PRIORITIES) do
        count = count + redis.call('ZCARD', PENDING .. priority)
    end
    return count
end

local function count(name, amount) redis.call('HINCRBYFLOAT', METRICS, name, amount) end

local function live_workers()
    return redis.call('ZCOUNT', WORKERS, stamp(now()), '+inf')
end

-- Return the first active job in a worker's facts; nil if it has none.
local function first_job(facts_json)
    local decoded, facts = pcall(cjson.decode, facts_json)
    if not decoded or type(facts) ~= 'table' or type(facts.batch) ~= 'table' then return nil end
    return facts.batch[1]
end

-- Store a worker's facts until its heartbeat is overdue.
local function store_worker(worker, facts_json, lease_s)
    local live_until = stamp(now() + tonumber(lease_s))
    redis.call('ZADD', WORKERS, live_until, worker)
    if first_job(facts_json) then
        redis.call('ZADD', BUSY, live_until, worker)
    else
        redis.call('ZREM', BUSY, worker)
    end
    redis.call('SET', WORKER .. worker, facts_json, 'PX', math.ceil(tonumber(lease_s) * 1000))
    if redis.call('HEXISTS', GPUS, worker) == 1 then
        redis.call('ZADD', GPU_LEASES, live_until, worker)
    end
end

local function leave_gpu(worker)
    redis.call('HDEL', GPUS, worker)
    redis.call('ZREM', GPU_LEASES, worker)
end

-- Remove a worker that stopped or died, and free its GPU.
local function forget_worker(worker)
    redis.call('ZREM', WORKERS, worker)
    redis.call('ZREM', BUSY, worker)
    redis.call('DEL', WORKER .. worker)
    leave_gpu(worker)
end

-- Record that a worker no longer loads a bundle; return that bundle, or false if there was none.
local function stop_loading(worker)
    local bundle = redis.call('HGET', LOADING, worker)
    if not bundle then return false end
    redis.call('HDEL', LOADING, worker)
    if redis.call('GET', PROVING .. bundle) == worker then redis.call('DEL', PROVING .. bundle) end
    return bundle
end

-- Set what `rq info` shows of a worker.
local function set_rq_worker(worker, state, job)
    local key = RQ_WORKER .. worker
    if redis.call('EXISTS', key) == 0 then return end
    redis.call('HSET', key, 'state', state)
    if job then
        redis.call('HSET', key, 'current_job', job)
    else
        redis.call('HDEL', key, 'current_job')
    end
end

-- End a job's lease; return false if it had ended before.
local function release(id, execution, queue)
    local member = id .. ':' .. execution
    if redis.call('ZREM', RQ_WIP .. queue, member) == 0 then return false end
    redis.call('DEL', RQ_EXECUTION .. member)
    redis.call('ZREM', RQ_EXECUTIONS .. id, execution)
    redis.call('HDEL', RQ_JOB .. id, 'voxelq_execution', 'voxelq_deadline')
    return true
end

-- Write a job's only result for RQ. `entry` holds the fields and values of the stream's entry.
local function write_result(id, entry)
    local key = RQ_RESULTS .. id
    redis.call('XADD', key, 'MAXLEN', 1, '*', unpack(entry))
    -- Redis reserves 4 KiB for a new stream, and only what is needed for a restored one
    redis.call('RESTORE', key, 0, redis.call('DUMP', key), 'REPLACE')
end

-- Fail a job that VoxelQ did not submit or whose fields are gone, and list it as a dead letter.
local function set_aside(id, queue)
    redis.call('LREM', RQ_QUEUE .. queue, 0, id)
    redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id)
    for _, priority in ipairs(PRIORITIES) do redis.call('ZREM', PENDING .. priority, id) end
    redis.call('HSET', RQ_JOB .. id, 'status', 'failed')
    local kept_s = tonumber(redis.call('HGET', RQ_JOB .. id, 'failure_ttl') or '') or 31536000
    redis.call('ZADD', RQ_FAILED .. queue, stamp(now() + kept_s), id)
    write_result(id, {'type', 2, 'exc_string', UNREADABLE})
    redis.call('ZADD', DEAD_LETTERS, stamp(now()), id)
    redis.call('ZREMRANGEBYRANK', DEAD_LETTERS, 0, -1 - DEAD_LETTERS_KEPT)
    count('unreadable_jobs_total', 1)
    if redis.call('ZSCORE', INDEX, id) then
        count('jobs_total{status="failed"}', 1)
        unlist(id)
        move(id, nil, 'failed')
    end
end

-- Put a job back at the head of its queue, with its old time of arrival.
-- Returns false if it had to be set aside.
local function requeue(id, queue)
    redis.call('HDEL', RQ_JOB .. id, 'voxelq_stage', 'voxelq_progress')
    local job = redis.call('HMGET', RQ_JOB .. id, 'voxelq_model', 'voxelq_priority', 'voxelq_arrival')
    if not job[1] or not job[2] then
        set_aside(id, queue)
        return false
    end
    redis.call('LPUSH', RQ_QUEUE .. queue, id)
    redis.call('SADD', RQ_QUEUES, RQ_QUEUE .. queue)
    redis.call('SADD', MODELS, job[1])
    redis.call('ZADD', PENDING .. job[2], tonumber(job[3] or '') and job[3] or stamp(now()), id)
    wake_one_worker()
    return true
end

-- Make a finished job's hash small: its submission moves to its result, and fields that no client
-- reads any more are deleted. Redis packs a hash only if all its values are short.
local function shrink(id)
    local job, kept = redis.call('HMGET', RQ_JOB .. id, unpack(KEPT_ONCE_FINISHED)), {}
    for i, value in ipairs(job) do
        if value and value ~= '' then
            kept[#kept + 1] = KEPT_ONCE_FINISHED[i]
            kept[#kept + 1] = value
        end
    end
    redis.call('DEL', RQ_JOB .. id)
    redis.call('HSET', RQ_JOB .. id, unpack(kept))
end

-- End a job whose lease has ended. `result` holds the fields and values of RQ's result, if any.
local function finish(id, queue, from, to, registry, retention_s, ended_at, result)
    redis.call('HSET', RQ_JOB .. id, 'status', to, 'ended_at', ended_at)
    redis.call('ZADD', registry .. queue, stamp(now() + retention_s), id)
    if result then
        if to == 'finished' then
            result[#result + 1] = 'voxelq_submission'
            result[#result + 1] = redis.call('HGET', RQ_JOB .. id, 'voxelq_submission') or ''
            shrink(id)
        end
        write_result(id, result)
    end
    count('jobs_total{status="' .. to .. '"}', 1)
    move(id, from, to)
end

local function fail(id, queue, from, problem, exception, worker, retention_s, ended_at)
    redis.call('HSET', RQ_JOB .. id, 'voxelq_problem', problem)
    local reason = string.match(cjson.decode(problem).type, '([%w-]+)$') or 'unknown'
    count('job_failures_total{reason="' .. reason .. '"}', 1)
    finish(id, queue, from, 'failed', RQ_FAILED, retention_s, ended_at,
        {'type', 2, 'worker_name', worker, 'exc_string', exception})
end

-- Put a job back into the queue without charging it: its worker could serve no scan.
local function return_uncharged(id, queue)
    redis.call('HINCRBY', RQ_JOB .. id, 'voxelq_returns', 1)
    redis.call('HSET', RQ_JOB .. id, 'status', 'queued')
    if requeue(id, queue) then
        move(id, 'started', 'queued')
        count('jobs_returned_total', 1)
    end
end

-- Return whether a job was returned so often that the job itself may be at fault.
local function returned_too_often(id)
    local returns = tonumber(redis.call('HGET', RQ_JOB .. id, 'voxelq_returns') or 0)
    return returns > 0 and returns % RETURNS_PER_LOSS == 0
end

-- Charge a job with one loss, and put it back into the queue or, after too many losses, fail it.
-- Returns true if the job failed.
local function lose(id, queue, max_attempts, problem, exception, worker, retention_s, ended_at)
    local losses = redis.call('HINCRBY', RQ_JOB .. id, 'voxelq_losses', 1)
    local from = redis.call('HGET', RQ_JOB .. id, 'status')
    if losses >= max_attempts then
        fail(id, queue, from, problem, exception, worker, retention_s, ended_at)
        return true
    end
    redis.call('HSET', RQ_JOB .. id, 'status', 'queued')
    if not requeue(id, queue) then return true end
    move(id, from, 'queued')
    return false
end

-- Return how many jobs are ahead of a job; -1 if it is not queued.
local function position(id)
    local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'voxelq_priority')
    if job[1] ~= 'queued' then return -1 end
    if not job[2] then return 0 end
    local ahead = redis.call('ZRANK', PENDING .. job[2], id)
    if not ahead then return 0 end
    for _, priority in ipairs(PRIORITIES) do
        if priority == job[2] then break end
        ahead = ahead + redis.call('ZCARD', PENDING .. priority)
    end
    return ahead
end

-- Return all data of a job: {hash, position, latest result, id}; false if there is no such job.
local function view(id)
    local job = redis.call('HGETALL', RQ_JOB .. id)
    if #job == 0 then return false end
    return {job, position(id), redis.call('XREVRANGE', RQ_RESULTS .. id, '+', '-', 'COUNT', 1), id}
end

-- Return what estimates need: {seconds a scan costs or '', live workers}.
local function pace()
    return {redis.call('HGET', METRICS, 'seconds_per_scan') or '', live_workers()}
end
