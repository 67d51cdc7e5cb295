"""Writing the consent index. `interface` is what the publisher may expect; `embedded` and `shared` are its forms."""
