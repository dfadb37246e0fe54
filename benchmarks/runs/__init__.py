"""Complete training runs, from warm start to evaluation."""
