-- Take a turn that comes once in an interval. ARGV: key, seconds. Returns 1 if it was taken.
local taken = take_turn(ARGV[1], tonumber(ARGV[2]))
return taken and 1 or 0
