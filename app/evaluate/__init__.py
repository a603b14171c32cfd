"""Labels of files against their truth: one confusion, many views of it."""
