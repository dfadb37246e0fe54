"""Generated houses beside the official ones."""
