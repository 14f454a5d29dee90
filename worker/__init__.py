"""The worker: a process that runs the models it has loaded on one device, batch by batch."""
