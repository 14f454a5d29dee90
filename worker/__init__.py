"""The worker: one process that owns one network on one device."""
