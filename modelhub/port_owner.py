"""What listens at a port of this machine, in words, for the message that the port is taken."""

from __future__ import annotations

import http.client
import json

import psutil

from modelhub.config import connectable

_TIMEOUT_S = 1.0


def port_owner(host: str, port: int) -> str:
    """``"another modelhub server (process 812)"``, ``"nginx (process 812)"`` or ``"another program"``.

    The process of another user cannot be seen.
    """
    process = _listening_process(port)
    name = "another modelhub server" if _is_modelhub(host, port) else _name(process)
    return name if process is None else f"{name} (process {process.pid})"


def _listening_process(port: int) -> psutil.Process | None:
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            is_owner = connection.status == psutil.CONN_LISTEN and address and address.port == port
            if is_owner and connection.pid is not None:
                return psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return None


def _name(process: psutil.Process | None) -> str:
    try:
        return "another program" if process is None else process.name()
    except psutil.Error:
        return "another program"


def _is_modelhub(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(connectable(host).strip("[]"), port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return bool(json.loads(connection.getresponse().read(1000)) == {"live": True})
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
