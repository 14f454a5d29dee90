-- Delete terminal jobs. ARGV: ids. Returns how many were deleted or missing; live jobs are kept.
local purged = 0
for _, id in ipairs(ARGV) do
    if forget(id) ~= 'live' then purged = purged + 1 end
end
return purged
