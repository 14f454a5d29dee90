-- A worker's heartbeat: extend its leases, add its metrics. ARGV: worker, its facts as JSON, lease
-- seconds, last heartbeat, count of metrics, then name and amount of each, then id, execution,
-- queue of each job it holds. Returns "<job>:<execution>" of the leases that it has lost.
local time, lease_s = now(), tonumber(ARGV[3])
store_worker(ARGV[1], ARGV[2], lease_s)
local rq_worker = RQ_WORKER .. ARGV[1]
if redis.call('EXISTS', rq_worker) == 1 then
    redis.call('HSET', rq_worker, 'last_heartbeat', ARGV[4])
    redis.call('EXPIRE', rq_worker, math.ceil(lease_s) + 60)
end
local metrics = tonumber(ARGV[5])
for i = 6, 4 + 2 * metrics, 2 do count(ARGV[i], ARGV[i + 1]) end
local lost = {}
for i = 6 + 2 * metrics, #ARGV, 3 do
    local id, execution, queue = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local member = id .. ':' .. execution
    if redis.call('EXISTS', RQ_JOB .. id) == 0 then -- RQ's own tools deleted it
        release(id, execution, queue)
    end
    if redis.call('ZSCORE', RQ_WIP .. queue, member) then
        redis.call('ZADD', RQ_WIP .. queue, 'XX', stamp(time + lease_s), member)
        -- write all fields: the hash is gone if the clock was stepped forward and it expired
        redis.call('HSET', RQ_EXECUTION .. member, 'id', execution, 'worker_name', ARGV[1],
            'voxelq_lease_s', lease_s, 'last_heartbeat', stamp(time))
        redis.call('EXPIRE', RQ_EXECUTION .. member, math.ceil(lease_s) + 60)
        redis.call('ZADD', RQ_EXECUTIONS .. id, stamp(time + lease_s + 60), execution)
        redis.call('HSET', RQ_JOB .. id, 'last_heartbeat', ARGV[4])
    else
        lost[#lost + 1] = member
    end
end
return lost
