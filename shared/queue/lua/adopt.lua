-- A stock RQ worker runs this job: update our listings as begin.lua would. ARGV: id.
-- Returns 1, or 0 when VoxelQ did not submit the job.
local id = ARGV[1]
local priority = redis.call('HGET', RQ_JOB .. id, 'voxelq_priority')
if not priority then return 0 end
redis.call('ZREM', PENDING .. priority, id)
redis.call('HINCRBY', RQ_JOB .. id, 'voxelq_attempts', 1)
redis.call('HSET', RQ_JOB .. id, 'voxelq_stage', 'load', 'voxelq_progress', 0)
move(id, 'queued', 'started')
return 1
