-- A worker stops as planned, perhaps while it loads a model. ARGV: worker.
stop_loading(ARGV[1])
forget_worker(ARGV[1])
return 1
