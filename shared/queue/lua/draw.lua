-- Lease up to a batch of one model's jobs, in the order of service.
-- ARGV: worker, most, lease seconds, ageing seconds, thresholds as "model=1,1,2;..." (how many jobs
--       must be queued for a batch of 1, 2, 3... jobs; those of '' are for models without their
--       own), model ref or '' for any, token for the executions' ids, draw jobs that run alone
--       (0 or 1), other lanes of this worker that are idle, models to skip as "a;b".
-- Returns {{jobs left, jobs ever queued, live workers, idle ones with this and its other lanes},
-- {id, execution, queue, submission, losses, seconds since it was queued}...}; the first is empty
-- if the workers are suspended.
local worker, most, lease_s, aging_s = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local wanted, token, alone_too = ARGV[6], ARGV[7], ARGV[8] == '1'
local AGED_EVERY = 4
local time = now()

if redis.call('EXISTS', RQ_SUSPENDED) == 1 then return {{}} end

local before, workers = pending_count(), math.max(1, live_workers())
local ever_queued = before + tonumber(redis.call('GET', TURN) or 0)
-- A worker is idle without a job. The one that draws has a free lane, so it counts as idle.
local busy = redis.call('ZCOUNT', BUSY, stamp(time), '+inf')
local itself = tonumber(redis.call('ZSCORE', BUSY, worker) or 0) >= time and 1 or 0
local idle = math.max(1, workers - busy + itself) + tonumber(ARGV[9])

-- The batch size of a model for this queue: shared.batching.policy.batch_size, in Lua.
local function size_for(model)
    local own, general = nil, nil
    for ref, entries in string.gmatch(ARGV[5], '([^;=]*)=([%d,]+)') do
        if ref == model then own = entries elseif ref == '' then general = entries end
    end
    local thresholds = own or general
    if not thresholds then return most end
    local share, size = math.ceil(before / idle), 0
    for threshold in string.gmatch(thresholds, '%d+') do
        if size > 0 and (tonumber(threshold) > before or size >= share) then break end
        size = size + 1
    end
    return math.min(most, size)
end

local models = {wanted}
if wanted == '' then
    local skipped = ';' .. ARGV[10] .. ';'
    models = {}
    for _, model in ipairs(redis.call('SMEMBERS', MODELS)) do
        if not string.find(skipped, ';' .. model .. ';', 1, true) then
            models[#models + 1] = model
        end
    end
end

local function head(model, priority)
    local queue = model .. ':' .. priority
    local id = redis.call('LINDEX', RQ_QUEUE .. queue, 0)
    if not id then return nil end
    local arrival = redis.call('ZSCORE', PENDING .. priority, id)
    return {id = id, queue = queue, model = model, priority = priority, arrival = tonumber(arrival or 0)}
end

-- The job of one priority that has waited longest, over all models asked for.
local function first(priority)
    local best
    for _, model in ipairs(models) do
        local candidate = head(model, priority)
        if candidate and (not best or candidate.arrival < best.arrival) then best = candidate end
    end
    return best
end

-- Return the next job in the order of service.
local function choose()
    local best, aged
    for _, priority in ipairs(PRIORITIES) do
        local candidate = first(priority)
        if candidate then
            if not best then
                best = candidate
            elseif time - candidate.arrival > aging_s and (not aged or candidate.arrival < aged.arrival) then
                aged = candidate
            end
        end
    end
    local turn = tonumber(redis.call('GET', TURN) or 0) + 1
    if aged and turn % AGED_EVERY == 0 then return aged end
    return best
end

local drawn = {{}}
while #drawn <= most do
    local job = choose()
    if not job then
        if wanted == '' then
            -- so that the set of queued models does not grow with every new version
            for _, model in ipairs(models) do redis.call('SREM', MODELS, model) end
        end
        break
    end
    local list = RQ_QUEUE .. job.queue
    local fields = redis.call('HMGET', RQ_JOB .. job.id, 'status', 'voxelq_execution',
        'voxelq_submission', 'voxelq_losses', 'voxelq_model', 'voxelq_priority')
    local leased = fields[2] and redis.call('ZSCORE', RQ_WIP .. job.queue, job.id .. ':' .. fields[2])
    if fields[1] ~= 'queued' or leased then
        redis.call('LPOP', list) -- deleted, or queued twice by RQ's own registry clean-up
        redis.call('ZREM', PENDING .. job.priority, job.id)
        if not fields[1] then forget(job.id) end
    elseif not (fields[3] and fields[5] and fields[6]) then
        set_aside(job.id, job.queue)
    else
        local losses = tonumber(fields[4] or 0) or 0
        if losses > 0 and (#drawn > 1 or not alone_too) then break end
        if #drawn == 1 then most = size_for(job.model) end
        local execution = token .. '-' .. #drawn
        local member = job.id .. ':' .. execution
        redis.call('LMOVE', list, list .. RQ_INTERMEDIATE, 'LEFT', 'RIGHT')
        redis.call('ZREM', PENDING .. job.priority, job.id)
        redis.call('ZADD', RQ_WIP .. job.queue, stamp(time + lease_s), member)
        redis.call('HSET', RQ_EXECUTION .. member, 'id', execution, 'worker_name', worker,
            'created_at', stamp(time), 'last_heartbeat', stamp(time), 'voxelq_lease_s', lease_s)
        redis.call('EXPIRE', RQ_EXECUTION .. member, math.ceil(lease_s) + 60)
        redis.call('ZADD', RQ_EXECUTIONS .. job.id, stamp(time + lease_s + 60), execution)
        redis.call('HSET', RQ_JOB .. job.id, 'voxelq_execution', execution)
        redis.call('INCR', TURN)
        local waited_s = job.arrival > 0 and math.max(0, time - job.arrival) or 0
        drawn[#drawn + 1] = {job.id, execution, job.queue, fields[3], losses, stamp(waited_s)}
        models = {job.model}
        wanted = job.model
        if losses > 0 then break end
    end
end
drawn[1] = {pending_count(), ever_queued, workers, idle}
return drawn
