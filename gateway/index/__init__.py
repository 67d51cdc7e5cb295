"""Asking the consent index. `interface` says what a worker may expect of it; `embedded` and `shared` are its forms."""
