"""How many workers a load needs, simulated with the service's own batching policy."""
