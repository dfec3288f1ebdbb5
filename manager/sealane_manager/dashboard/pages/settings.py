"""The audit log, and settings: users, API tokens, one's own password, and the trust roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.dashboard import query
from sealane_manager.dashboard.front import SESSION_COOKIE, forget_cookie, go
from sealane_manager.errors import Refused
from sealane_manager.people.access import Act, Role, parse_role
from sealane_manager.store.records import By
from sealane_manager.trust.overview import roles_of, root_fingerprint

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Form, Front, Visit

MAX_DAYS: Final = 10_000


class SettingsPages:
    """Who may do what, and what was done."""

    def __init__(self, front: Front) -> None:
        self._front, self._offices = front, front.offices

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        app.add_route("/audit", self.audit, ["GET"])
        app.add_route("/settings", self.show, ["GET"])
        post, own = self._front.posting, Act.LOOK
        app.add_route("/settings/password", post(own, self.password), ["POST"])
        app.add_route("/settings/users", post(Act.ADMINISTER, self.add_user), ["POST"])
        app.add_route("/settings/users/{user}/role", post(Act.ADMINISTER, self.role), ["POST"])
        app.add_route("/settings/users/{user}/remove", self.ask_remove, ["GET"])
        app.add_route("/settings/users/{user}/remove", post(Act.ADMINISTER, self.remove), ["POST"])
        app.add_route("/settings/tokens", post(Act.ADMINISTER, self.add_token), ["POST"])
        app.add_route(
            "/settings/tokens/{token}/remove", post(Act.ADMINISTER, self.remove_token), ["POST"]
        )

    def audit(self, request: Request) -> Response:
        """The decision log."""
        visit = self._front.visit(request)
        wanted = query.audit_filter(visit.asked)
        log = self._offices.store.audit
        found, actions = log.lines(wanted), log.actions()
        return self._front.page(visit, "audit.html", wanted=wanted, found=found, actions=actions)

    def show(self, request: Request) -> Response:
        """Users, tokens, keys."""
        return self._shown(self._front.visit(request))

    def _shown(self, visit: Visit, secret: str = "") -> Response:
        kept, repository = self._offices.accounts.kept, self._offices.repository
        return self._front.page(
            visit,
            "settings.html",
            users=kept.users(),
            tokens=kept.tokens(),
            trust=roles_of(repository.current),
            root=root_fingerprint(repository.current),
            roles=tuple(Role),
            secret=secret,
        )

    def password(self, form: Form) -> Response:
        """Another password for oneself; all sessions end."""
        request, name = form.visit.request, form.visit.who.name
        accounts, new = self._offices.accounts, form.fields.get("new", "")
        if new != form.fields.get("again", ""):
            raise Refused("the two new passwords differ", hint="type the same one twice")
        address = request.client.host if request.client else ""
        accounts.confirm(name, form.fields.get("old", ""), address)
        accounts.set_password(name, new, name)
        answer = go("/login")
        forget_cookie(answer, SESSION_COOKIE)
        return answer

    def add_user(self, form: Form) -> Response:
        """Let somebody log in."""
        role, password = parse_role(form.text("role")), form.fields.get("password", "")
        actor = form.visit.who.name
        self._offices.accounts.add_user(form.text("name"), role, password, actor)
        return go("/settings")

    def role(self, form: Form) -> Response:
        """Give a user another role."""
        by = self._by(form)
        role = parse_role(form.text("role"))
        self._offices.accounts.kept.set_role(form.visit.path("user"), role, by)
        return go("/settings")

    def ask_remove(self, request: Request) -> Response:
        """Ask for a reason."""
        visit = self._front.visit(request, Act.ADMINISTER)
        return self._front.page(visit, "remove_user.html", name=visit.path("user"))

    def remove(self, form: Form) -> Response:
        """Never let a user in again."""
        self._offices.accounts.kept.remove_user(form.visit.path("user"), self._by(form))
        return go("/settings")

    def add_token(self, form: Form) -> Response:
        """A new API token; it is shown once."""
        role, days = parse_role(form.text("role")), query.whole(form.fields, "days", MAX_DAYS)
        actor, purpose = form.visit.who.name, form.text("purpose")
        secret = self._offices.accounts.issue_token(purpose, role, days, actor)
        return self._shown(form.visit, secret)

    def remove_token(self, form: Form) -> Response:
        """Forget an API token."""
        self._offices.accounts.kept.remove_token(form.visit.path("token"), self._by(form))
        return go("/settings")

    def _by(self, form: Form) -> By:
        reason = form.text("reason", 500)
        return By(form.visit.who.name, reason, self._offices.clock.now())
