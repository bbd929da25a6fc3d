"""The neural network modules: tensors in, tensors out."""
