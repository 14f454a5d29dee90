-- ARGV: key, seconds. Returns 1 when the turn was taken.
local taken = take_turn(ARGV[1], tonumber(ARGV[2]))
return taken and 1 or 0
