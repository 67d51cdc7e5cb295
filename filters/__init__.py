"""The pure heart: what may go, and how it must look.

Nothing here knows sockets, clocks, the environment or logging; bytes and facts come in, verdicts and bytes go out.
Both planes share it: the gateway asks, the registry writes, and `filters.key` is the contract between them.
"""
