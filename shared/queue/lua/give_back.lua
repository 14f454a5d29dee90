-- Put drawn or started jobs back at their old places in the queue, without charging them.
-- ARGV: id, execution, queue of each job, in the order drawn. Returns how many were put back.
local returned = 0
for i = #ARGV - 2, 1, -3 do
    local id, execution, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if release(id, execution, queue) then
        local drawn = redis.call('LREM', RQ_QUEUE .. queue .. RQ_INTERMEDIATE, 0, id) > 0
        local status = redis.call('HGET', RQ_JOB .. id, 'status')
        if status == 'started' then
            return_uncharged(id, queue)
            returned = returned + 1
        elseif status == 'queued' and drawn then
            requeue(id, queue)
            returned = returned + 1
        end
    end
end
return returned
