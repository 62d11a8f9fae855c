"""Benchmarks: measuring (latency, accuracy, environment) apart from keeping (record) apart from showing (report)."""
