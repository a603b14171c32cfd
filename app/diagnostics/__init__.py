"""What this machine offers to pointserve, and what is wrong with it."""
