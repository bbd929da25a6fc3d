"""The benchmarks behind the speed figures of `benchmarks/README.md`."""
