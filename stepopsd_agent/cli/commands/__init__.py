"""The commands of ``stepopsd``: one file each, named like the command, see `parser.Command`."""
