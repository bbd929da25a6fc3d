"""The models: modules with their tokenizer, saved and loaded; static vectors; generation."""
