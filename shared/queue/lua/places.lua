-- Return positions in the queue. ARGV: ids.
-- Returns {positions (-1: not queued), pace}, in the order of the ids.
local places = {}
for i, id in ipairs(ARGV) do places[i] = place(id) end
return {places, pace()}
