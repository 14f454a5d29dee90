"""What several benchmarks share: services, clients, the machine, the scan that is measured."""
