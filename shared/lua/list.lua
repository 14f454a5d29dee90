-- ARGV: status or '', cursor or '', limit. Ids sort by time: the newest come first.
-- Returns {views, pace}.
local index = INDEX
if ARGV[1] ~= '' then index = INDEX .. ':' .. ARGV[1] end
local from = '+'
if ARGV[2] ~= '' then from = '(' .. ARGV[2] end
local views = {}
for _, id in ipairs(redis.call('ZRANGE', index, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, ARGV[3])) do
    local seen = view(id)
    if seen then views[#views + 1] = seen end
end
return {views, pace()}
