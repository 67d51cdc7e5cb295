"""Backups of an installation: what it takes to go on elsewhere."""
