"""What an inspector is given about one recipient: the consents, the decisions, and what proves both."""
