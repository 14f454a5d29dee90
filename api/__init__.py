"""The front desk: takes a scan in, hands an answer out; computes nothing."""
