"""Onboarding: who wants to send applies, proves who it is, and is approved, rejected, suspended (docs/providers.md)."""
