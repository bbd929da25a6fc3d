"""Helpers that know nothing of ELMo: files, cache entries, ranks, cores, memory, the terminal."""
