-- Return several jobs. ARGV: ids. Returns {views or false, pace}, in the order of the ids.
local views = {}
for i, id in ipairs(ARGV) do views[i] = view(id) end
return {views, pace()}
