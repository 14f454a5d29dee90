-- Return the status of each bundle: '' if it runs, else what is wrong, or nil if it is unknown.
-- ARGV: bundles. The first of these that is known decides: a live worker runs it; its files have a
-- fault; a live worker cannot run it; a worker that is gone ran it.
local time, results = now(), {}
for i, bundle in ipairs(ARGV) do
    local runs, ran, unable = false, false, false
    local statuses = redis.call('HGETALL', BUNDLE_STATUS .. bundle)
    for at = 1, #statuses, 2 do
        local live_until = redis.call('ZSCORE', WORKERS, statuses[at])
        local live = live_until and tonumber(live_until) >= time
        if statuses[at + 1] == '' then
            ran, runs = true, runs or live
        elseif live then
            unable = statuses[at + 1]
        end
    end
    local status = runs and '' or redis.call('GET', BUNDLE_FAULT .. bundle) or unable
    results[i] = status or (ran and '')
end
return results
