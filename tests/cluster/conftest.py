"""A cluster that the tests of a module share, from those that leave it as it was to those that end nodes."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelhub.cluster.machines import ClusterMachines
from tests.support.cluster import Cluster, wait_for
from tests.support.models import make_sparse_llama


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder with a short name: Ray's sockets lie in it, whose paths may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="mh"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(short_folder: Path) -> Iterator[Cluster]:
    """A head, and the nodes a and b, which ask for Ray's token."""
    token = short_folder / "token"
    token.write_text(secrets.token_hex(32))
    cluster = Cluster(short_folder, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
    try:
        cluster.start_head()
        for name in ("a", "b"):
            models = short_folder / f"models-{name}"
            make_sparse_llama(models / "tiny" / "too-big", 2**34)
            make_sparse_llama(models / "tiny" / f"only-on-{name}", 300)
            cluster.start_node(name, MODELHUB_MODELS_DIR=str(models))
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def of_ray(short_folder: Path, cluster: Cluster) -> Iterator[None]:
    """What servers have to know of Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(short_folder / "token"))
        yield


@pytest.fixture(scope="module")
def machines(cluster: Cluster, of_ray: None) -> Iterator[ClusterMachines]:
    """The nodes as a server sees them, warm."""
    machines = ClusterMachines(cluster.address)
    machines.start()
    try:
        wait_for(lambda: are_warm(machines, "a", "b"), 90)
        yield machines
    finally:
        machines.close()


def are_warm(machines: ClusterMachines, *names: str) -> bool:
    """Whether these are the nodes, and loads start at once there."""
    nodes = machines.all()
    return [one.name for one in nodes] == [*names] and all(one.status()["state"] == "warm" for one in nodes)
