"""Using a model: explanations, neighbours, senses, vectors of whole files."""
