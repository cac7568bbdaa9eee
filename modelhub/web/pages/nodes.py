"""The page of the nodes of a cluster: their memory and models, and the way to drain one."""

from __future__ import annotations

from flask import Blueprint, Flask, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from modelhub.errors import ModelhubError
from modelhub.payloads import NodeStatus
from modelhub.web.current import registry
from modelhub.web.pages import node_wording

blueprint = Blueprint("nodes", __name__)


def init_app(app: Flask) -> None:
    """Serve the page."""
    app.register_blueprint(blueprint)


@blueprint.get("/nodes")
def index() -> str:
    """All nodes; on one machine, that there are none."""
    nodes = [(node, node_wording.words(node)) for node in registry.nodes()]
    return render_template("nodes.html", nodes=nodes, address=registry.settings.cluster)


@blueprint.get("/nodes/<name>/drain")
def ask_to_drain(name: str) -> str:
    """Ask whether a node is to be drained: its models leave memory."""
    return render_template("drain.html", node=_node(name))


@blueprint.post("/nodes/<name>/drain")
def drain(name: str) -> Response:
    """Give a node no new loads, and have its models leave memory; then it leaves the cluster."""
    registry.lifecycle.drain(name, by="page")
    flash(f"Node {name} is draining: it gets no new loads, and leaves once its models have.", "note")
    return redirect(url_for("nodes.index"), 303)


def _node(name: str) -> NodeStatus:
    found = next((node for node in registry.nodes() if node["name"] == name), None)
    if found is None:
        raise ModelhubError("unknown_node", name=name)
    return found
