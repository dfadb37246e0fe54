"""Retrievers: BM25 in numpy, Lucene, dense vectors, their fusion, and any of them behind HTTP."""
