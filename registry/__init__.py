"""The control plane: who agreed to what, the evidence for it, and the page where citizens take it back.

It shares `filters` with the gateway and meets it in data only: this side writes the consent index, that side reads it.
"""
