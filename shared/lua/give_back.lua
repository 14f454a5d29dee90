-- Return what was drawn and not begun, to its old place and at no cost to it.
-- ARGV: id, execution, queue of each job, in the order drawn. Returns how many went back.
local returned = 0
for i = #ARGV - 2, 1, -3 do
    local id, execution, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if release(id, execution, queue) then
        redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id)
        requeue(id, queue)
        returned = returned + 1
    end
end
return returned
