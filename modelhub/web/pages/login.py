"""The page that asks for the token, where the server has one; it works without JavaScript."""

from __future__ import annotations

from flask import Blueprint, Flask, current_app, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from modelhub.errors import ModelhubError
from modelhub.web import attempts
from modelhub.web.access import access_of
from modelhub.web.error_handlers import RETRY_AFTER_S

_LONGEST = 1000  # characters of an address to come back to
blueprint = Blueprint("login", __name__)


def init_app(app: Flask) -> None:
    """Serve the page."""
    app.register_blueprint(blueprint)


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | Response | tuple[str, int, dict[str, str]]:
    """Ask for the token; begin a session for who has it, and go to where the client wanted to."""
    access = access_of(current_app)
    target = _own_address(request.args.get("next", ""))
    if not access.is_asked or (request.method == "GET" and g.identity and g.identity.may_touch):
        return redirect(target, 303)
    if request.method == "GET":
        return render_template("login.html")
    try:
        identity = attempts.identify(access, request.form.get("token", "").strip())
    except ModelhubError as error:
        page = render_template("login.html", failure=f"{error.message} {error.hint}")
        return page, error.status, {"Retry-After": RETRY_AFTER_S[error.code]}
    if identity is None:
        return render_template("login.html", failure="This is not the token of this server."), 401, {}
    access.log_in(identity)
    return redirect(target, 303)


@blueprint.post("/logout")
def logout() -> Response:
    """End the session, also that of other pages of this browser."""
    access_of(current_app).log_out()
    return redirect(url_for("login.login"), 303)


def _own_address(text: str) -> str:
    """``text`` where it is an address of this server, else that of the first page."""
    is_own = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if is_own and len(text) <= _LONGEST else url_for("models.index")
