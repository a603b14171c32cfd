"""The server below the application: connections, their time limits, and gunicorn's worker."""
