"""The metrics, the results of an evaluation, and the files that are made from them."""
