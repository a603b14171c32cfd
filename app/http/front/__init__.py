"""Between the port and the application: connections, how patient the server is with them, and gunicorn's worker."""
