-- Queue a new job. ARGV: id, model ref, priority, queue, max queued, hashed idempotency key or '',
--       fingerprint, seconds to keep that key, then the fields and values of RQ's hash.
-- Returns {'created' | 'known', view, pace}, {'conflict'} or {'full', pace}.
local id, model, priority, queue = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key, fingerprint = ARGV[6], ARGV[7]

if redis.call('EXISTS', RQ_JOB .. id) == 1 then
    return {'created', view(id), pace()} -- a repeated call, whose first answer was lost
end
if key ~= '' then
    local known = redis.call('GET', IDEMPOTENCY .. key)
    if known then
        local print, job = string.match(known, '^(%S+) (%S+)$')
        local known_job = job and view(job)
        if known_job then
            if print ~= fingerprint then return {'conflict'} end
            return {'known', known_job, pace()}
        end
    end
end
if pending_count() >= tonumber(ARGV[5]) then return {'full', pace()} end

local arrival = stamp(now())
redis.call('HSET', RQ_JOB .. id, 'voxelq_model', model, 'voxelq_priority', priority,
    'voxelq_arrival', arrival, 'voxelq_idempotency', key, unpack(ARGV, 9))
redis.call('SADD', RQ_QUEUES, RQ_QUEUE .. queue)
redis.call('SADD', QUEUES, queue)
redis.call('SADD', MODELS, model)
redis.call('RPUSH', RQ_QUEUE .. queue, id)
redis.call('ZADD', PENDING .. priority, arrival, id)
redis.call('ZADD', INDEX, 0, id)
move(id, nil, 'queued')
if key ~= '' then
    redis.call('SET', IDEMPOTENCY .. key, fingerprint .. ' ' .. id, 'EX', ARGV[8])
end
wake_one_worker()
return {'created', view(id), pace()}
