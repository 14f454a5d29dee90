-- ARGV: ids. Returns how many were forgotten; live jobs are kept.
local purged = 0
for _, id in ipairs(ARGV) do
    if forget(id) ~= 'live' then purged = purged + 1 end
end
return purged
