"""The Search-QA environment and its retrievers."""
