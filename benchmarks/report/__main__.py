"""``python -m benchmarks.report``."""

from benchmarks.report.pages import main

raise SystemExit(main())
