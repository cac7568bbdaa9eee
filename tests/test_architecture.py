"""The packages of modelhub from the ground up: who may import whom, and what the web process may not."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.models import make_sparse_llama
from tests.support.server import ROOT

HEAVY = ("torch", "transformers", "safetensors", "numpy", "PIL", "ray")
# Each layer imports from those before it and from itself; a module belongs to the longest name that fits.
# docs/architecture.md draws the same picture.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "units",
        "states",
        "checkpoints",
        "memory",
        "page_cache",
        "demos",
        "handles",
        "limits",
        "generation",
        "json_log",
    ),
    ("versions",),
    ("task_parameters",),
    ("tasks",),
    ("payloads",),
    ("placement_wording",),
    ("errors",),
    ("model_ids", "devices", "hosts", "tokens", "config"),
    ("formats",),
    ("progress", "loader.background", "loader.explain"),
    ("loader.files",),
    ("loader.reading",),
    ("loader",),
    ("inference",),
    ("workers",),
    ("core",),
    ("cluster",),
    ("wording",),
    ("outlook_wording",),
    ("web",),
    ("web.dialects",),
    ("web.pages",),
    ("",),  # modelhub/__init__.py: create_app
    ("cli", "server", "port_owner", "connections", "plain_log", "request_body"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def _module(path: Path) -> str:
    """``modelhub/core/load.py`` is ``core.load``, a package its folder, modelhub itself the empty string."""
    parts = path.relative_to(ROOT / "modelhub").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in sorted((ROOT / "modelhub").rglob("*.py"))}


def _imports(path: Path, is_lazy_too: bool = True) -> set[str]:
    """The modules of modelhub that a module imports; what it imports for types only does not count."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    in_functions = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in for_types or (not is_lazy_too and id(node) in in_functions):
            continue
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            for alias in node.names:
                inner, outer = _ours(f"{node.module}.{alias.name}"), _ours(node.module)
                found |= inner if inner else outer
        elif isinstance(node, ast.Import):
            found |= set().union(*(_ours(alias.name) for alias in node.names))
    return found


def _ours(name: str) -> set[str]:
    """The module of modelhub called ``name``, if there is one."""
    head, _, rest = name.partition(".")
    return {rest} if head == "modelhub" and rest in MODULES else set()


def _level(module: str) -> int:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in LEVEL:
            return LEVEL[name]
    raise AssertionError(f"{module} has no layer: give it one in LAYERS and in docs/architecture.md")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_from_its_own_layer_and_those_below(module: str) -> None:
    above = {name for name in _imports(MODULES[module]) if _level(name) > _level(module)}
    assert not above, f"{module or 'modelhub'} imports {above}, which are above it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: _imports(path, is_lazy_too=False) - {name} for name, path in MODULES.items()}
    for name in graph:  # a package that imports its own modules is how Python builds one
        graph[name] = {other for other in graph[name] if not name.startswith(f"{other}.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"A circle: {error.args[1]}") from None


def test_every_layer_is_there() -> None:
    for name in LEVEL:
        assert name in MODULES, f"LAYERS names {name}, which does not exist"


def test_the_web_process_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = (
        "import sys; from modelhub import create_app;"
        f"app = create_app({{'MODELHUB_DATA_DIR': {str(tmp_path)!r}}});"
        "app.test_client().get('/livez');"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_web_process_imports_none_of_them_either_and_only_it_needs_redis(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['redis'] = None;"  # as where it is not installed
        "from modelhub import create_app, create_web_app;"
        f"app = create_app({{'MODELHUB_DATA_DIR': {str(tmp_path)!r}}});"
        "print(app.test_client().get('/livez').status_code);"
        "del sys.modules['redis'];"
        "app = create_web_app({'MODELHUB_REDIS': 'redis://127.0.0.1:1'});"
        "app.test_client().get('/');"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["200", "[]"]


def test_the_process_that_reads_ahead_imports_nothing_large(tmp_path: Path) -> None:
    """It begins at the click, so it must be there at once; nor may it look a model up with those."""
    make_sparse_llama(tmp_path / "models" / "tiny", 300)
    code = (
        "import sys; from modelhub.checkpoints import LoadSpec; from modelhub.workers import reader;"
        "folders = (sys.argv[1], sys.argv[1]);"
        "assert reader._start(LoadSpec('org/nowhere', *folders)) is None;"
        "found = reader._start(LoadSpec('tiny', *folders)); found.join();"
        "assert found.done == found.size > 0;"
        f"print([name for name in {(*HEAVY, 'tokenizers')} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "models")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_eventlet_is_named_in_the_server_only() -> None:
    named = [
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("modelhub/**/*.py"), ROOT / "wsgi.py"]
        if "eventlet" in path.read_text()
    ]
    assert named == ["modelhub/server.py"]
