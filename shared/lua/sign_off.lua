-- A worker leaves by itself. ARGV: worker.
forget_worker(ARGV[1])
return 1
