-- Fail drawn jobs whose submission the worker cannot read.
-- ARGV: worker, ended at, retention, problem, RQ's text, then id, execution, queue of each job.
-- Returns how many failed.
local failed = 0
for i = 6, #ARGV, 3 do
    local id, execution, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if release(id, execution, queue) then
        redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id)
        if redis.call('HGET', RQ_JOB .. id, 'status') == 'queued' then
            fail(id, queue, 'queued', ARGV[4], ARGV[5], ARGV[1], tonumber(ARGV[3]), ARGV[2])
            redis.call('ZADD', DEAD_LETTERS, stamp(now()), id)
            redis.call('ZREMRANGEBYRANK', DEAD_LETTERS, 0, -1 - DEAD_LETTERS_KEPT)
            count('unreadable_jobs_total', 1)
            failed = failed + 1
        end
    end
end
return failed
