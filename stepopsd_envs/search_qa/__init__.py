"""Search-QA: multi-turn question answering with a search engine."""
