"""Probing: which layer of an encoder knows what about a word, its part of speech, its sense."""
