"""The command line: its parser, the domains that it knows, and one message per error."""
