-- Return the queue's state: {queued, started, pace, workers as JSON, age of the oldest queued job, metrics,
-- waiting jobs by priority, scans finished in the last minutes, in how many seconds}.
local time = now()
local workers = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, stamp(time), '+inf')) do
    local facts = redis.call('GET', WORKER .. id)
    if facts then workers[#workers + 1] = facts end
end
local oldest, waiting = time, {}
for _, priority in ipairs(PRIORITIES) do
    local head = redis.call('ZRANGE', PENDING .. priority, 0, 0, 'WITHSCORES')
    waiting[#waiting + 1] = priority
    waiting[#waiting + 1] = redis.call('ZCARD', PENDING .. priority)
    if head[2] then oldest = math.min(oldest, tonumber(head[2])) end
end
local finished, minute = 0, math.floor(time / 60)
for back = 0, RATE_MINUTES - 1 do
    finished = finished + tonumber(redis.call('GET', FINISHED_IN .. (minute - back)) or 0)
end
return {redis.call('ZCARD', INDEX .. ':queued'), redis.call('ZCARD', INDEX .. ':started'), pace(),
    workers, stamp(time - oldest), redis.call('HGETALL', METRICS), waiting,
    finished, stamp(time - 60 * (minute - RATE_MINUTES + 1))}
