-- Requeue the jobs of workers whose leases ran out, and repair what RQ's own tools left behind.
-- A reaper removes a lease before it requeues the job, so that two reapers never requeue one twice.
-- ARGV: ended at, retention, max attempts, problem and RQ's text for a job lost too often, the same
--       for a job that ran too long alone, seconds between two turns, lease seconds.
-- Returns how many leases were reaped.
local ended_at, retention_s, max_attempts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lease_s = tonumber(ARGV[9])
local UNDONE_PER_LOSS = 10
local EVENTS_KEPT = 200000

local has_turn, passed = take_turn(REAPED_AT, tonumber(ARGV[8]))
if not has_turn then return 0 end
local time, reaped = now(), 0
-- While Redis was away, or if its clock was stepped, live workers could not extend their leases.
local heartbeats_missed = not passed or passed < 0 or passed > math.max(2, lease_s / 2)

local function lose_job(id, queue)
    lose(id, queue, max_attempts, ARGV[4], ARGV[5], '', retention_s, ended_at)
    count('leases_lost_total', 1)
end

-- Extend a lease that ran out although its worker may live; false if that was done once already
-- since the last heartbeat.
local function spare(queue, member)
    local execution = redis.call('HMGET', RQ_EXECUTION .. member, 'last_heartbeat', 'voxelq_spared',
        'voxelq_lease_s')
    if execution[2] and execution[2] == execution[1] then return false end
    redis.call('ZADD', RQ_WIP .. queue, stamp(time + (tonumber(execution[3] or '') or lease_s)), member)
    redis.call('HSET', RQ_EXECUTION .. member, 'voxelq_spared', execution[1] or '',
        'last_heartbeat', execution[1] or '')
    redis.call('EXPIRE', RQ_EXECUTION .. member, math.ceil(lease_s) + 60)
    return true
end

local function reap(queue, member)
    local id, execution = string.match(member, '^([^:]+):(.+)$')
    if not id then
        redis.call('ZREM', RQ_WIP .. queue, member)
        return
    end
    local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'voxelq_deadline', 'voxelq_losses')
    release(id, execution, queue)
    if not job[1] then
        forget(id)
    elseif job[1] == 'queued' then
        -- drawn but never begun: this scan is not what killed the worker
        if redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id) > 0 then
            local undone = redis.call('HINCRBY', RQ_JOB .. id, 'voxelq_undone_draws', 1)
            if undone % UNDONE_PER_LOSS == 0 then lose_job(id, queue) else requeue(id, queue) end
        end
    elseif job[1] == 'started' then
        local alone = (tonumber(job[3] or '') or 0) > 0
        if alone and time >= (tonumber(job[2] or '') or math.huge) then
            fail(id, queue, 'started', ARGV[6], ARGV[7], '', retention_s, ended_at)
            count('leases_lost_total', 1)
        else
            lose_job(id, queue)
        end
    end
    reaped = reaped + 1
end

-- If the clock was stepped back, leases end too late: shorten them. Live workers extend their own
-- again with the next heartbeat.
local function cut_leases(queue)
    local late = redis.call('ZRANGEBYSCORE', RQ_WIP .. queue, stamp(time + lease_s + 1), '+inf',
        'WITHSCORES', 'LIMIT', 0, 2000)
    for i = 1, #late, 2 do
        -- a stock worker's lease has no length of its own, and no heartbeat while it computes
        local own = tonumber(redis.call('HGET', RQ_EXECUTION .. late[i], 'voxelq_lease_s') or '')
        if own and tonumber(late[i + 1]) > time + own + 1 then
            redis.call('ZADD', RQ_WIP .. queue, stamp(time + own), late[i])
        end
    end
end

for _, known in ipairs({WORKERS, BUSY}) do
    redis.call('ZREMRANGEBYSCORE', known, '-inf', '(' .. stamp(time))
    for _, worker in ipairs(redis.call('ZRANGEBYSCORE', known, stamp(time + lease_s + 1), '+inf')) do
        redis.call('ZADD', known, stamp(time + lease_s), worker)
    end
end
redis.call('XTRIM', EVENTS, 'MAXLEN', '~', EVENTS_KEPT)

local listed = {}
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
    cut_leases(queue)
    local overdue = redis.call('ZRANGEBYSCORE', RQ_WIP .. queue, '-inf', stamp(time),
        'WITHSCORES', 'LIMIT', 0, 1000)
    for i = 1, #overdue, 2 do
        local known_dead = tonumber(overdue[i + 1]) <= KNOWN_DEAD
        if known_dead or not heartbeats_missed or not spare(queue, overdue[i]) then reap(queue, overdue[i]) end
    end
    local model, priority = string.match(queue, '^(.*):([^:]+)$')
    local length = redis.call('LLEN', RQ_QUEUE .. queue)
    if model then
        listed[priority] = (listed[priority] or 0) + length
        -- so that a job is drawn even if a stock client or `rq requeue` queued it
        if length > 0 then redis.call('SADD', MODELS, model) end
    end
    note_intermediate(queue, time)
end
sweep(time, listed)
rescue_strays(time, lose_job)
return reaped
