"""``python -m stepopsd_agent``: the ``stepopsd`` command."""

from stepopsd_agent.cli.main import main

raise SystemExit(main())
