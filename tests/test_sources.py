"""What the source of the app does nowhere, and what it does in a few named places alone: read from its syntax."""

import ast
import functools
import hashlib
import re
from collections.abc import Iterator

import pytest

from tests.app import ROOT

RUNS_OTHERS = {"subprocess", "pty", "os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "os.fork"}
RUNS_OTHERS |= {"asyncio.create_subprocess", "multiprocessing", "runpy", "code", "codeop"}
READS_CODE = {"pickle", "marshal", "shelve", "dill", "jsonpickle", "yaml", "xml", "lxml", "copyreg", "zipimport"}
PAST_PYTHON = {"ctypes", "cffi", "mmap", "_ctypes", "numpy", "gc.get_objects"}
BUILT_IN = {"eval", "exec", "compile", "__import__", "breakpoint"}
OPENS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "fdopen", "mkdtemp", "TemporaryDirectory"}
FILES = {
    "shared/compliance/render/html.py": "the style sheet",
    "shared/compliance/render/pdf.py": "the template",
    "shared/compliance/report.py": "where an operator writes a report to",
    "shared/detection/imports.py": "the mapping of an operator's backtest",
    "shared/ledger/evidence.py": "the verifier that goes along",
    "shared/privacy/file_secrets.py": "root secrets, where there is no vault",
    "shared/storage/_sqlite_schema.py": "the embedded store",
    "shared/storage/sqlite.py": "the embedded store",
}
"""Modules that open files. No function of `functions/` is among them, and no path is made of what a caller sends."""
LOGGING = ("FileHandler", "StreamHandler", "NullHandler", "SocketHandler", "HTTPHandler", "basicConfig", "dictConfig")
CRYPTOGRAPHY = {
    "cryptography.exceptions": {"InvalidTag", "InvalidSignature"},
    "cryptography.hazmat.primitives.asymmetric.ed25519": {"Ed25519PrivateKey", "Ed25519PublicKey"},
    "cryptography.hazmat.primitives.asymmetric.padding": {"MGF1", "OAEP"},
    "cryptography.hazmat.primitives.asymmetric.rsa": {"RSAPublicKey", "RSAPublicNumbers"},
    "cryptography.hazmat.primitives.ciphers.aead": {"AESGCM"},
    "cryptography.hazmat.primitives.hashes": {"SHA256"},
    "cryptography.hazmat.primitives.kdf.hkdf": {"HKDF"},
    "cryptography.hazmat.primitives.keywrap": {"InvalidUnwrap", "aes_key_unwrap", "aes_key_wrap"},
    "cryptography.hazmat.primitives.serialization": {"Encoding", "PublicFormat", "load_der_public_key"},
}
"""All that is used of the library: GCM, OAEP, RFC 3394, Ed25519, HKDF; no other mode, padding or curve."""

HASHES = {re.sub("[-_/ ]", "", name.lower()) for name in hashlib.algorithms_available | hashlib.algorithms_guaranteed}

OTHERS = {
    "Crypto",
    "Cryptodome",
    "nacl",
    "ecdsa",
    "rsa",
    "passlib",
    "bcrypt",
    "M2Crypto",
    "jose",
    "jwcrypto",
    "OpenSSL",
}
UNVERIFIED = {"connection_verify", "verify_ssl", "check_hostname", "verify_mode", "CERT_NONE", "CERT_OPTIONAL"}
UNVERIFIED |= {"_create_unverified_context", "_create_default_https_context", "verify_flags"}
"""By what a client says that it does not look at a certificate, or not at all of it."""
JITTER = {"shared/storage/_cosmos_requests.py", "shared/wiring/_streaming.py"}
"""Who may ask `random`: for how much longer a pause is."""
SHORT = {
    "shared/storage/_cosmos_writes.py": "a mark by which a write is known again",
    "shared/privacy/file_secrets.py": "the name of a file beside another",
}
"""Random texts of fewer than 128 bits, which nobody has to guess."""


@functools.cache
def sources() -> dict[str, ast.Module]:
    """The syntax of every module of the app, by path."""
    paths = [path for folder in ("functions", "shared") for path in sorted((ROOT / folder).rglob("*.py"))]
    paths.append(ROOT / "function_app.py")
    return {path.relative_to(ROOT).as_posix(): parsed(path.read_text(encoding="utf-8")) for path in paths}


def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def imported(tree: ast.AST) -> set[str]:
    """Full names of what a module imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """What is called, as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def uses(tree: ast.AST, unwanted: set[str]) -> set[str]:
    """What a module imports or calls of these."""
    names = imported(tree) | {name for name, _ in calls(tree)}
    return {name for name in names for each in unwanted if name == each or name.startswith((f"{each}.", f"{each}_"))}


def exact(tree: ast.AST, unwanted: set[str]) -> set[str]:
    return {name for name, _ in calls(tree)} & unwanted


def starting(tree: ast.AST) -> set[str]:
    """Calls that start a process, whatever ending their name has."""
    names = imported(tree) | {name for name, _ in calls(tree)}
    return {name for name in names if name.startswith(tuple(RUNS_OTHERS - {"code"})) or name == "code"}


def formats(tree: ast.AST) -> list[str]:
    """Formats that are no constants: of `%` and of `format`, and templates."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Mod)
            and isinstance(node.right, ast.Tuple | ast.Dict)
        ):
            found += [] if isinstance(node.left, ast.Constant) else [ast.unparse(node)]
    for name, node in calls(tree):
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in ("format", "format_map"):
            found += [] if isinstance(function.value, ast.Constant) else [name]
        elif name in ("Template", "string.Template"):
            found.append(name)
    return found


def named_hashes(tree: ast.AST) -> set[str]:
    """Of calls that are given a hash by its name: the name."""
    given = (each for _, call in calls(tree) for each in (*call.args, *(named.value for named in call.keywords)))
    texts = (each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return {text for text in texts if re.sub("[-_/ ]", "", text.lower()) in HASHES}


def everywhere[T](found: dict[str, T]) -> dict[str, T]:
    """Of what was found, module by module, what there is."""
    return {path: each for path, each in found.items() if each}


def test_the_app_starts_no_process() -> None:
    assert everywhere({path: starting(tree) for path, tree in sources().items()}) == {}


def test_the_app_runs_no_text_and_reads_no_objects() -> None:
    """What comes in is JSON; no parser of XML, pickles or YAML is there to be given it."""
    assert everywhere({path: exact(tree, BUILT_IN) for path, tree in sources().items()}) == {}
    assert everywhere({path: uses(tree, READS_CODE) for path, tree in sources().items()}) == {}


def test_nothing_goes_past_pythons_memory() -> None:
    """No code of ours is native, and none takes addresses: lengths of buffers are Python's and libraries' concern."""
    assert everywhere({path: uses(tree, PAST_PYTHON) for path, tree in sources().items()}) == {}
    endings = {path.suffix for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.*")}
    assert not endings & {".so", ".pyd", ".dll", ".c", ".pyx", ".cpp", ".rs"}


def test_formats_are_constants() -> None:
    """But where a rule's own words come as a parameter, and the names of a setting's fields."""
    assert everywhere({path: formats(tree) for path, tree in sources().items()}) == {
        "functions/admin_settings.py": ["field.format"],
        "shared/compliance/rules/authentication.py": ["text.format"],
        "shared/compliance/rules/model.py": ["text.format", "text.format"],
    }


def test_files_are_opened_in_few_places_and_in_no_function() -> None:
    found = set()
    for path, tree in sources().items():
        for name, node in calls(tree):
            last = name.rpartition(".")[2]
            is_file = last in OPENS - {"open"} or name in ("open", "os.open", "path.open", "io.open")
            handed_on = [ast.unparse(each).rpartition(".")[2] in OPENS - {"open"} for each in node.args]
            if is_file or any(handed_on):
                found.add(path)
    assert found == set(FILES)
    assert not [path for path in found if path.startswith("functions/")]


def test_logs_go_where_the_host_takes_them_and_nowhere_else() -> None:
    """No module has a file, a socket or a stream of its own; programs for operators print."""
    handlers: dict[str, set[str]] = {}
    prints: dict[str, set[str]] = {}
    for path, tree in sources().items():
        named = {name for name, _ in calls(tree)} | imported(tree)
        handlers[path] = {each for each in named if each.endswith(LOGGING) or "addHandler" in each}
        prints[path] = {each for each in named if each in ("print", "sys.stdout.write", "sys.stderr.write")}
    assert everywhere(handlers) == {
        "shared/storage/provision.py": {"logging.NullHandler", "logging.getLogger('azure').addHandler"}
    }
    assert set(everywhere(prints)) == {"shared/storage/provision.py", "shared/compliance/report.py"}


def test_certificates_are_verified() -> None:
    """Of everybody, but for an emulator on this machine: no module asks for anything else."""
    found = set()
    for path, tree in sources().items():
        for node in ast.walk(tree):
            named = node.arg if isinstance(node, ast.keyword) else None
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                named = str(node.slice.value)
            if isinstance(node, ast.Attribute):
                named = node.attr
            if named in UNVERIFIED:
                found.add(f"{path} {named}")
    assert found == {"shared/storage/_cosmos_client.py connection_verify"}
    source = (ROOT / "shared/storage/_cosmos_client.py").read_text(encoding="utf-8")
    assert source.count("connection_verify") == 1
    assert 'if self._account.accept_self_signed:\n            settings["connection_verify"] = False' in source


def test_cryptography_is_that_of_libraries() -> None:
    used = set()
    for path, tree in sources().items():
        names = imported(tree)
        assert not {name for name in names if name.partition(".")[0] in OTHERS}, path
        used |= {name for name in names if name.partition(".")[0] == "cryptography"}
    assert used == {f"{module}.{name}" for module, names in CRYPTOGRAPHY.items() for name in names}


def test_hashes_are_sha_256() -> None:
    """SHA-1 is in codes by time alone, which RFC 6238 and their library make, and in ids that are no secret."""
    found, plain = set(), set()
    for path, tree in sources().items():
        names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | imported(tree)
        found |= {name for name in names if re.fullmatch(r"hashlib\.\w+", name)} | named_hashes(tree)
        plain |= {f"{path} {name}" for name in names if name in ("uuid.uuid3", "zlib.crc32", "zlib.adler32")}
    assert found == {"hashlib.sha256"}
    assert plain == {"shared/identity/service.py zlib.crc32"}, "which of a thousand strangers an e-mail counts as"


def test_what_nobody_may_guess_is_random_as_secrets_are() -> None:
    """From the system's generator, 128 bits and more."""
    assert {path for path, tree in sources().items() if "random" in imported(tree)} == JITTER
    short = set()
    for path, tree in sources().items():
        assert not {name for name in imported(tree) if name.startswith("random.")}, path
        for name, node in calls(tree):
            if name.rpartition(".")[2] in ("token_bytes", "token_hex", "token_urlsafe", "random_text", "random_bytes"):
                size = node.args[0]
                if isinstance(size, ast.Constant) and isinstance(size.value, int) and size.value < 16:
                    short.add(path)
    assert short == set(SHORT)


@pytest.mark.parametrize(
    "text",
    [
        *("import subprocess", "from subprocess import run", "import os\nos.system('x')", "os.execv('a', [])"),
        *(
            "os.popen('x')",
            "asyncio.create_subprocess_shell('x')",
            "os.posix_spawnp('x')",
            "import multiprocessing.pool",
        ),
    ],
)
def test_a_process_would_be_seen(text: str) -> None:
    assert starting(parsed(text))


@pytest.mark.parametrize(
    ("text", "unwanted"),
    [
        ("import pickle", READS_CODE),
        ("from xml.etree import ElementTree", READS_CODE),
        ("def f():\n    import yaml\n", READS_CODE),
        ("import ctypes", PAST_PYTHON),
        ("from mmap import mmap", PAST_PYTHON),
    ],
)
def test_what_is_not_wanted_would_be_seen(text: str, unwanted: set[str]) -> None:
    assert uses(parsed(text), unwanted)
    assert not uses(parsed("import json\njson.loads(x)\nre.compile(y)"), unwanted)


@pytest.mark.parametrize("text", ["eval(x)", "exec(x)", "compile(x, '', 'exec')", "__import__(x)"])
def test_code_would_be_seen(text: str) -> None:
    assert exact(parsed(text), BUILT_IN)
    assert not exact(parsed("re.compile(x); typst.compile(y)"), BUILT_IN)


@pytest.mark.parametrize(
    "text", ["hmac.new(key, signed, 'md5')", "new('SHA-1')", "hmac.new(a, digestmod='sha512_256')"]
)
def test_a_hash_by_its_name_would_be_seen(text: str) -> None:
    assert named_hashes(parsed(text))
    assert not named_hashes(parsed("hmac.new(key, signed, hashlib.sha256)\nx.get('md')"))


@pytest.mark.parametrize("text", ["x % (1,)", "x.format(1)", "f(x).format_map(y)", "string.Template(x)"])
def test_a_format_that_is_none_of_ours_would_be_seen(text: str) -> None:
    assert formats(parsed(text))
    assert not formats(parsed("'%s' % (x,)\n'{}'.format(x)\na % b\n"))
