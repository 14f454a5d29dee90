"""When a batch is formed and what it costs: policy without clocks, threads or Redis."""
