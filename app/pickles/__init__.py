"""Files of pickle and torch.save, read without importing or calling anything that they name."""
