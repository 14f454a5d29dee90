-- Take a turn that comes once in interval_s seconds, measured by the server's clock: a key's time to
-- live would become longer if the clock was stepped back. Returns false if the turn was taken within
-- the interval, else true and the seconds since it was last taken (nil the first time).
local function take_turn(key, interval_s)
    local time = now()
    local last = tonumber(redis.call('GET', key) or '')
    local passed = last and time - last
    if passed and passed >= 0 and passed < interval_s then return false end
    redis.call('SET', key, stamp(time))
    return true, passed
end
