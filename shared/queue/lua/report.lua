-- How far jobs have come. What a worker tells of a job that it lost is not heard.
-- ARGV: id, execution, queue, stage, progress of each job. Returns for how many it was heard.
local PROGRESS_KEPT = 1000
local told = {}
for i = 1, #ARGV, 5 do
    local id, execution, queue, stage, progress = unpack(ARGV, i, i + 4)
    local job = redis.call('HMGET', RQ_JOB .. id, 'status', 'voxelq_attempts')
    if job[1] == 'started' and redis.call('ZSCORE', RQ_WIP .. queue, id .. ':' .. execution) then
        redis.call('HSET', RQ_JOB .. id, 'voxelq_stage', stage, 'voxelq_progress', progress)
        told[#told + 1] = id
        told[#told + 1] = job[2] .. ' ' .. stage .. ' ' .. progress
    end
end
if #told > 0 and redis.call('EXISTS', LISTENED) == 1 then
    redis.call('XADD', PROGRESS, 'MAXLEN', '~', PROGRESS_KEPT, '*', unpack(told))
end
return #told / 2
