-- Return one page of jobs, newest first; ids sort by time. ARGV: status or '', cursor or '', limit.
-- Returns {views, pace, next cursor or '', ids without a job}.
-- Bounds the work of one call where many listed ids have no job any more.
local MAX_CHECKED = 2000
local index, limit = INDEX, tonumber(ARGV[3])
if ARGV[1] ~= '' then index = INDEX .. ':' .. ARGV[1] end
local from, cursor = '+', ARGV[2]
if cursor ~= '' then from = '(' .. cursor end
local views, missing, checked, more = {}, {}, 0, true
while more and #views < limit and checked < MAX_CHECKED do
    local wanted = limit - #views
    local ids = redis.call('ZRANGE', index, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, wanted + 1)
    for i = 1, math.min(wanted, #ids) do
        local job = view(ids[i])
        if job then views[#views + 1] = job else missing[#missing + 1] = ids[i] end
        cursor = ids[i]
    end
    from, more, checked = '(' .. cursor, #ids > wanted, checked + #ids
end
return {views, pace(), more and cursor or '', missing}
