"""The data plane: two doors, SMTP and SMPP, to one decision pipeline, and what carries messages on from there.

It imports `filters` and never `registry`: the planes meet in the consent index, and in `cli`, which may start both.
"""
