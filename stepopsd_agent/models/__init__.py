"""Language models: loading, prompting, scoring."""
