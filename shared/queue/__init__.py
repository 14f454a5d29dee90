"""The only access to Redis and RQ: keys, Lua scripts, jobs and events. No scans, no files."""
