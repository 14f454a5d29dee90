-- A stock RQ worker runs this job: keep the listings beside RQ's own in step. ARGV: id.
local id = ARGV[1]
redis.call('ZREM', PENDING .. redis.call('HGET', RQ_JOB .. id, 'voxelq_priority'), id)
redis.call('HINCRBY', RQ_JOB .. id, 'voxelq_attempts', 1)
redis.call('HSET', RQ_JOB .. id, 'voxelq_stage', 'load', 'voxelq_progress', 0)
move(id, 'queued', 'started')
return 1
