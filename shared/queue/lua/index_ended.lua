-- Repair ENDED: add terminal jobs that an older version ended, remove those that are live again,
-- and correct times in the future. ARGV: limit. Returns how many jobs were added.
local limit, time = tonumber(ARGV[1]), now()

-- Return the Unix seconds of a time as RQ writes it; nil if it cannot be read.
local function unix(text)
    local year, month, day, hour, minute, second =
        string.match(text or '', '^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$')
    if not year then return nil end
    year, month = tonumber(year), tonumber(month)
    if month <= 2 then year, month = year - 1, month + 12 end
    -- days since 1970-01-01, with years that begin in March so that leap days come last
    local days = 365 * year + math.floor(year / 4) - math.floor(year / 100)
        + math.floor(year / 400) + math.floor((153 * (month - 3) + 2) / 5) + day - 1 - 719468
    return ((days * 24 + hour) * 60 + minute) * 60 + second
end

-- If the clock was stepped back, these jobs would be kept too long by the length of the step.
for _, id in ipairs(redis.call('ZRANGE', ENDED, '(' .. stamp(time), '+inf', 'BYSCORE',
        'LIMIT', 0, limit)) do
    redis.call('ZADD', ENDED, stamp(time), id)
end
for _, id in ipairs(redis.call('ZRANGE', ENDED, 0, limit - 1)) do
    if is_live(redis.call('HGET', RQ_JOB .. id, 'status')) then redis.call('ZREM', ENDED, id) end
end

local added, listed = 0, 0
for _, status in ipairs(STATUSES) do
    if not is_live(status) then listed = listed + redis.call('ZCARD', INDEX .. ':' .. status) end
end
if listed == redis.call('ZCARD', ENDED) then return 0 end
for _, status in ipairs(STATUSES) do
    if not is_live(status) and added < limit then
        local after = redis.call('GET', ENDED_FROM .. status)
        local ids = redis.call('ZRANGE', INDEX .. ':' .. status, after and '(' .. after or '-', '+',
            'BYLEX', 'LIMIT', 0, limit - added)
        for _, id in ipairs(ids) do
            local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'ended_at')
            if not is_live(job[1]) then
                local ended = math.min(time, unix(job[2]) or time)
                added = added + redis.call('ZADD', ENDED, 'NX', stamp(ended), id)
            end
        end
        if #ids > 0 then
            redis.call('SET', ENDED_FROM .. status, ids[#ids])
        else
            redis.call('DEL', ENDED_FROM .. status)
        end
    end
end
return added
