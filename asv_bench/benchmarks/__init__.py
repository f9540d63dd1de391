"""Benchmarks, one file a room. Each runs on both kernels; see asv.conf.json."""
