"""The PDF report that is made from finished runs."""
