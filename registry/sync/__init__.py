"""The client of the national system: it keeps brands in step with what is recorded there."""
