"""What the speed figures of `benchmarks/README.md` come from; `python -m benchmarks.NAME`."""
