-- Store the progress of jobs, and publish it while a client follows. An update of a job whose lease
-- was lost is ignored.
-- ARGV: id, execution, queue, stage, progress of each job. Returns how many updates were stored.
local PROGRESS_KEPT = 1000
local updates = {}
for i = 1, #ARGV, 5 do
    local id, execution, queue, stage, progress = unpack(ARGV, i, i + 4)
    local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'voxelq_attempts')
    if job[1] == 'started' and redis.call('ZSCORE', RQ_WIP .. queue, id .. ':' .. execution) then
        redis.call('HSET', RQ_JOB .. id, 'voxelq_stage', stage, 'voxelq_progress', progress)
        updates[#updates + 1] = id
        updates[#updates + 1] = job[2] .. ' ' .. stage .. ' ' .. progress
    end
end
if #updates > 0 and redis.call('EXISTS', PROGRESS_WANTED) == 1 then
    redis.call('XADD', PROGRESS, 'MAXLEN', '~', PROGRESS_KEPT, '*', unpack(updates))
end
return #updates / 2
