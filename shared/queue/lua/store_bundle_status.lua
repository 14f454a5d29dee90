-- Store whether a bundle runs in a worker. ARGV: worker, bundle, 'runs', 'fault' (of its files, so
-- for every worker), 'unable' (this worker, for now) or 'unsaid' (the status is unknown again), the
-- reason, seconds until it expires.

-- If a bundle has more statuses than this, those of workers that are gone are deleted.
local STATUSES_KEPT = 64
local worker, bundle, kind, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local statuses = BUNDLE_STATUS .. bundle
if kind == 'fault' then
    redis.call('SET', BUNDLE_FAULT .. bundle, ARGV[4], 'EX', ttl)
    redis.call('HDEL', statuses, worker)
elseif kind == 'unsaid' then
    redis.call('HDEL', statuses, worker)
else
    if redis.call('HLEN', statuses) >= STATUSES_KEPT then
        for _, known in ipairs(redis.call('HKEYS', statuses)) do
            if not redis.call('ZSCORE', WORKERS, known) then redis.call('HDEL', statuses, known) end
        end
    end
    redis.call('HSET', statuses, worker, kind == 'runs' and '' or ARGV[4])
    redis.call('EXPIRE', statuses, ttl)
end
if kind == 'runs' then
    redis.call('DEL', BUNDLE_FAULT .. bundle, LOADING_DEATHS .. bundle, LOADING_PAUSE .. bundle)
end
if redis.call('GET', PROVING .. bundle) == worker then redis.call('DEL', PROVING .. bundle) end
return 1
