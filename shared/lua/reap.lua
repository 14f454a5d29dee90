-- Take back the jobs of workers that fell silent. Each lost job is claimed by removing its lease,
-- so that two reapers can never queue it twice.
-- ARGV: ended at, retention, max attempts, problem and RQ's text for a job lost too often, the same
--       for a job that ran too long alone, milliseconds for which nobody else need look.
-- Returns how many came back.
local ended_at, retention_s, max_attempts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if not redis.call('SET', REAPER, 1, 'NX', 'PX', ARGV[8]) then return 0 end
local time, taken = now(), 0
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
    local silent = redis.call('ZRANGEBYSCORE', RQ_WIP .. queue, '-inf', stamp(time), 'LIMIT', 0, 1000)
    for _, member in ipairs(silent) do
        local id, execution = string.match(member, '^([^:]+):(.+)$')
        local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'voxelq_deadline', 'voxelq_losses')
        release(id, execution, queue)
        if job[1] == 'queued' then
            -- drawn and never begun: whatever killed the worker, it was not this scan
            if redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id) > 0 then
                requeue(id, queue)
            end
        elseif job[1] == 'started' then
            local alone = tonumber(job[3] or 0) > 0
            if alone and job[2] and time >= tonumber(job[2]) then
                fail(id, queue, 'started', ARGV[6], ARGV[7], '', retention_s, ended_at)
            else
                lose(id, queue, max_attempts, ARGV[4], ARGV[5], '', retention_s, ended_at)
            end
            count('leases_lost_total', 1)
        end
        taken = taken + 1
    end
end
-- Jobs that a stock RQ worker ended: it knows RQ's registries only.
for _, id in ipairs(redis.call('ZRANGE', INDEX .. ':started', 0, 999)) do
    local status = redis.call('HGET', RQ_JOB .. id, 'status')
    if status == 'finished' or status == 'failed' then move(id, 'started', status) end
end
return taken
