-- Return one job. ARGV: id. Returns {view or false, pace}.
return {view(ARGV[1]), pace()}
