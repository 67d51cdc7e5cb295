"""The ledger as evidence: who recorded what, the chain that shows a change, retention, and what an inspector reads."""
