"""The audit log, and settings: users, API tokens, one's own password, and the trust roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.dashboard import query
from sealane_manager.dashboard.front import SESSION_COOKIE, forget_cookie, go
from sealane_manager.errors import Refused
from sealane_manager.people.access import Act, Role, parse_grant
from sealane_manager.store.records import By
from sealane_manager.trust.overview import roles_of, root_fingerprint

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Form, Front, Visit
    from sealane_manager.people.access import Grant
    from sealane_manager.views import ChannelView

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
        app.add_route(
            "/settings/channels/{channel}/test", post(Act.ADMINISTER, self.try_channel), ["POST"]
        )
        app.add_route("/settings/tokens", post(Act.ADMINISTER, self.add_token), ["POST"])
        app.add_route(
            "/settings/tokens/{token}/remove", post(Act.ADMINISTER, self.remove_token), ["POST"]
        )

    def audit(self, request: Request) -> Response:
        """The decision log."""
        visit = self._front.visit(request)
        visit.who.check_everywhere(Act.AUDIT)
        wanted = query.audit_filter(visit.asked)
        log = self._offices.store.audit
        found, actions = log.lines(wanted), log.actions()
        return self._front.page(visit, "audit.html", wanted=wanted, found=found, actions=actions)

    def show(self, request: Request) -> Response:
        """Users, tokens, keys."""
        return self._shown(self._front.visit(request))

    def _shown(
        self, visit: Visit, secret: str = "", tried: tuple[ChannelView, ...] = ()
    ) -> Response:
        kept, repository = self._offices.accounts.kept, self._offices.repository
        return self._front.page(
            visit,
            "settings.html",
            users=kept.users(),
            tokens=kept.tokens(),
            trust=roles_of(repository.current),
            root=root_fingerprint(repository.current),
            demands=self._offices.publishing.demands(),
            roles=tuple(Role),
            secret=secret,
            channels=visit.offices.alarms.described(),
            sign_on=self._offices.sign_on,
            tried=tried,
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
        password, actor = form.fields.get("password", ""), form.visit.who.name
        self._offices.accounts.add_user(form.text("name"), _grant(form), password, actor)
        return go("/settings")

    def role(self, form: Form) -> Response:
        """Give a user another role."""
        by = self._by(form)
        self._offices.accounts.kept.set_grant(form.visit.path("user"), _grant(form), by)
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
        grant, days = _grant(form), query.whole(form.fields, "days", MAX_DAYS)
        actor, purpose = form.visit.who.name, form.text("purpose")
        secret = self._offices.accounts.issue_token(purpose, grant, days, actor)
        return self._shown(form.visit, secret)

    def remove_token(self, form: Form) -> Response:
        """Forget an API token."""
        self._offices.accounts.kept.remove_token(form.visit.path("token"), self._by(form))
        return go("/settings")

    def try_channel(self, form: Form) -> Response:
        """Send a test through a channel, and say what became of it."""
        name = form.visit.path("channel")
        tried = self._offices.alarms.test(name)
        return self._shown(form.visit, tried=tried)

    def _by(self, form: Form) -> By:
        reason = form.text("reason", 500)
        return By(form.visit.who.name, reason, self._offices.clock.now())


def _grant(form: Form) -> Grant:
    """The role of a form with its sites, apart by blanks or commas."""
    sites = form.text("sites", query.SELECTOR_CHARS).replace(",", " ").split()
    return parse_grant(form.text("role"), sites)
