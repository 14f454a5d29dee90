-- Return positions in the queue. ARGV: ids.
-- Returns {positions (-1: not queued), pace}, in the order of the ids.
local positions = {}
for i, id in ipairs(ARGV) do positions[i] = position(id) end
return {positions, pace()}
