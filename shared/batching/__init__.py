"""When a batch is formed and what it costs: pure functions, without clocks, threads or Redis."""
