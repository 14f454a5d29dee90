-- ARGV: status or '', cursor or '', limit. Ids sort by time: the newest come first.
-- Returns {views, pace, next cursor or '', ids without a job}.
local MOST_LOOKED_AT = 2000 -- ids without a job among them
local index, limit = INDEX, tonumber(ARGV[3])
if ARGV[1] ~= '' then index = INDEX .. ':' .. ARGV[1] end
local from, cursor = '+', ARGV[2]
if cursor ~= '' then from = '(' .. cursor end
local views, missing, looked_at, more = {}, {}, 0, true
while more and #views < limit and looked_at < MOST_LOOKED_AT do
    local wanted = limit - #views
    local ids = redis.call('ZRANGE', index, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, wanted + 1)
    for i = 1, math.min(wanted, #ids) do
        local seen = view(ids[i])
        if seen then views[#views + 1] = seen else missing[#missing + 1] = ids[i] end
        cursor = ids[i]
    end
    from, more, looked_at = '(' .. cursor, #ids > wanted, looked_at + #ids
end
return {views, pace(), more and cursor or '', missing}
