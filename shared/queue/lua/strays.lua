-- Finds live jobs that RQ's own tools or stock workers left in no queue and with no lease, where no
-- other script would find them again. They are called strays.
local SWEPT_AT_ONCE = 100
local STRAYS_AT_ONCE = 20
-- A stock worker takes a job from its queue a moment before it begins it, so that a job is rescued
-- only after this time. RQ waits a minute too.
local ASTRAY_S = 60

local function is_leased(id, queue)
    local executions = redis.call('ZRANGE', RQ_EXECUTIONS .. id, 0, -1)
    executions[#executions + 1] = redis.call('HGET', RQ_JOB .. id, 'voxelq_execution') or nil
    for _, execution in ipairs(executions) do
        if redis.call('ZSCORE', RQ_WIP .. queue, id .. ':' .. execution) then return true end
    end
    return false
end

-- Return whether a live job has no lease and is in no queue.
local function is_astray(id, status, queue)
    if not is_live(status) or not queue or is_leased(id, queue) then return false end
    return status == 'started' or not redis.call('LPOS', RQ_QUEUE .. queue, id)
end

local function note_intermediate(queue, time)
    local list = RQ_QUEUE .. queue .. RQ_INTERMEDIATE
    for _, id in ipairs(redis.call('LRANGE', list, 0, 999)) do
        local status = redis.call('HGET', RQ_JOB .. id, 'status')
        if not is_live(status) then
            redis.call('LREM', list, 0, id)
            if not status then forget(id) end
        elseif not is_leased(id, queue) then
            redis.call('ZADD', STRAYS, 'NX', stamp(time), id)
        end
    end
end

-- Return the next ids of a listing, and start again after the last one.
local function next_ids(status, most)
    local after = redis.call('GET', SWEPT .. status)
    local ids = redis.call('ZRANGE', INDEX .. ':' .. status, after and '(' .. after or '-', '+',
        'BYLEX', 'LIMIT', 0, most)
    if #ids == most then
        redis.call('SET', SWEPT .. status, ids[#ids])
    elseif after then
        redis.call('DEL', SWEPT .. status)
    end
    return ids
end

-- Correct the listings of some live jobs to match their hashes. `listed` holds how many jobs the
-- queues of each priority have.
local function sweep(time, listed)
    local vanished = false -- whether some job is in no queue; to find which one costs more
    for _, priority in ipairs(PRIORITIES) do
        vanished = vanished or redis.call('ZCARD', PENDING .. priority) > (listed[priority] or 0)
    end
    for _, from in ipairs({'queued', 'started'}) do
        for _, id in ipairs(next_ids(from, vanished and STRAYS_AT_ONCE or SWEPT_AT_ONCE)) do
            local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'origin', 'voxelq_priority')
            local status, queue, priority = job[1], job[2], job[3]
            local to = status == 'stopped' and 'failed' or status
            if not status then
                forget(id)
            elseif to ~= from and redis.call('ZSCORE', INDEX .. ':' .. from, id) then
                for _, other in ipairs(STATUSES) do
                    if to == other then
                        if priority and to ~= 'queued' then redis.call('ZREM', PENDING .. priority, id) end
                        move(id, from, to)
                    end
                end
            end
            if status == 'queued' and queue and priority and not is_leased(id, queue) then
                local pending = redis.call('ZSCORE', PENDING .. priority, id)
                if not pending and redis.call('LPOS', RQ_QUEUE .. queue, id) then
                    local arrival = redis.call('HGET', RQ_JOB .. id, 'voxelq_arrival')
                    redis.call('ZADD', PENDING .. priority, arrival or stamp(time), id)
                elseif not pending or (vanished and is_astray(id, status, queue)) then
                    redis.call('ZADD', STRAYS, 'NX', stamp(time), id)
                end
            elseif status == 'started' and is_astray(id, status, queue) then
                redis.call('ZADD', STRAYS, 'NX', stamp(time), id)
            end
        end
    end
end

-- Requeue the jobs that have been astray for a minute.
local function rescue_strays(time, lose_job)
    local known = redis.call('ZRANGE', STRAYS, 0, STRAYS_AT_ONCE - 1, 'WITHSCORES')
    for i = 1, #known, 2 do
        local id, seen = known[i], tonumber(known[i + 1])
        local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'origin')
        if not is_astray(id, job[1], job[2]) then
            redis.call('ZREM', STRAYS, id)
        elseif seen > time then
            redis.call('ZADD', STRAYS, stamp(time), id) -- the clock was stepped back
        elseif time - seen >= ASTRAY_S then
            redis.call('ZREM', STRAYS, id)
            redis.call('LREM', RQ_QUEUE .. job[2] .. RQ_INTERMEDIATE, 0, id)
            if job[1] == 'started' then lose_job(id, job[2]) else requeue(id, job[2]) end
        end
    end
end
