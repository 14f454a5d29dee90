"""The queue in Redis and RQ: jobs, keys, Lua scripts, events, workers' metrics. No files."""
