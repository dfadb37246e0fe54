"""Search-QA: questions that are answered by searching, reading and searching again."""
