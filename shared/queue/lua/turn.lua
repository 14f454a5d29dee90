-- Take a turn that comes every interval_s seconds, by the server's clock and not by a key's time to
-- live, which a clock that is stepped back would prolong. Returns false when it was taken lately,
-- else true and the seconds since it was taken last (nil the first time).
local function take_turn(key, interval_s)
    local time = now()
    local last = tonumber(redis.call('GET', key) or '')
    local passed = last and time - last
    if passed and passed >= 0 and passed < interval_s then return false end
    redis.call('SET', key, stamp(time))
    return true, passed
end
