"""A run: its folder, its records, its identity; resume, sweeps, settings, failures."""
