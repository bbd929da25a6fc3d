"""Training: the LightningModules, their callbacks and checkpoints, TensorBoard."""
