"""Jobs: surveys that a service runs for its clients, each in a folder that outlives the process."""
