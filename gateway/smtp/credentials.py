"""What a connection to a next hop of mail shows and asks for: whom to trust, and our password, which others renew."""

from __future__ import annotations

from gateway.config import Upstream, read_secret
from gateway.smtp.greeting import Login
from gateway.trust import Renewed, Trust


class Credentials(Trust):
    """Those of one `[upstream.…]`."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(upstream)
        self.starttls = upstream.tls != "none" and not upstream.tls_implicit
        self.implicit = upstream.tls_implicit
        self._user = upstream.user.encode()
        self._password = Renewed(upstream.password_file, read_secret) if upstream.password_file else None

    def login(self) -> Login | None:
        """Raises OSError, ValueError."""
        return Login(self._user, self._password.current()) if self._password else None
