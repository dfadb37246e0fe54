"""Retrievers: BM25 in NumPy, Lucene, dense vectors, their fusion, and any of them behind HTTP."""
