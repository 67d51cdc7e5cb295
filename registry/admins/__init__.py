"""Admins: people who decide about providers and look consents up, on a page of their own (docs/admin.md)."""
