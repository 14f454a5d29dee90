-- How bundles fare. ARGV: bundles. Returns one a bundle: '' for one that runs, else what is wrong,
-- or nil where no worker that counts has tried. A live worker that runs it counts most, then a fault
-- of its files, then a live worker that cannot run it, then one that ran it and is gone.
local time, answers = now(), {}
for i, bundle in ipairs(ARGV) do
    local runs, ran, unable = false, false, false
    local statuses = redis.call('HGETALL', BUNDLE_STATUS .. bundle)
    for at = 1, #statuses, 2 do
        local heard_until = redis.call('ZSCORE', WORKERS, statuses[at])
        local live = heard_until and tonumber(heard_until) >= time
        if statuses[at + 1] == '' then
            ran, runs = true, runs or live
        elseif live then
            unable = statuses[at + 1]
        end
    end
    local answer = runs and '' or redis.call('GET', BUNDLE_FAULT .. bundle) or unable
    answers[i] = answer or (ran and '')
end
return answers
