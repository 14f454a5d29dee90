-- Return the terminal jobs whose retention is over or that are too many, oldest first.
-- ARGV: seconds for which a job is kept after its end, how many are kept at most, how many to
--       return at most.
local kept_s, max_kept, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- Check this many times the limit, so that jobs which RQ's tools queued again cannot block others.
local CHECKED = 4
local old = redis.call('ZCOUNT', ENDED, '-inf', '(' .. stamp(now() - kept_s))
local due = math.max(old, redis.call('ZCARD', ENDED) - max_kept)
local ids = {}
if due > 0 then
    for _, id in ipairs(redis.call('ZRANGE', ENDED, 0, math.min(due, CHECKED * limit) - 1)) do
        if #ids >= limit then break end
        if not is_live(redis.call('HGET', RQ_JOB .. id, 'status')) then ids[#ids + 1] = id end
    end
end
return ids
