from __future__ import annotations

import stat

import requests

from tests.support.server import Server
from tests.support.types import StartServer


def test_a_name_that_merely_resolves_to_this_machine_is_refused(server: Server) -> None:
    for path in ("/", "/api/models"):
        answer = requests.get(server.url + path, headers={"Host": "evil.example"}, timeout=5)
        assert answer.status_code == 400
    assert requests.get(server.url + "/", headers={"Host": f"localhost:{server.port}"}, timeout=5).ok


def test_forms_need_the_token_of_the_page(server: Server) -> None:
    before = server.get("/api/loads").json()["loads"]
    answer = requests.post(f"{server.url}/loads", data={"model": "tiny/llama"}, timeout=5)
    assert answer.status_code == 400
    assert server.get("/api/loads").json()["loads"] == before


def test_the_first_request_of_a_first_server_is_a_page(start_server: StartServer) -> None:
    server = start_server()
    for _ in range(2):
        assert server.get("/").status_code == 200


def test_headers(server: Server) -> None:
    headers = server.get("/").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_key_is_its_owners_alone(server: Server) -> None:
    server.get("/")
    path = server.data_dir / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 64
