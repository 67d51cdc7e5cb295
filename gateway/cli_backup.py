"""`izinli backup` and `izinli restore`: all of an installation that cannot be made again, and a new one of it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gateway.backup import archive, files
from gateway.cli_common import (
    EX_CANTCREAT,
    EX_DATAERR,
    ConfigFile,
    console,
    errors,
    fail,
    keys_of,
    load_config,
    reachable,
)
from gateway.config import Config, ConfigError, load


def backup(
    config: ConfigFile,
    target: Annotated[
        Path, typer.Argument(help="A new directory, or a new file ending in .tar or .tar.gz. -: standard output (tar).")
    ],
) -> None:
    """Write ledger, keys, configuration and journal as they are now; the service may go on meanwhile."""
    from registry import backup as ledger

    loaded = load_config(config)
    keys_of(loaded, create=False)  # a backup without keys would be none
    to_pipe = str(target) == "-"
    if to_pipe and sys.stdout.isatty():
        fail("a terminal is no place for keys and addresses; pipe it into a program that encrypts", EX_CANTCREAT)
    if not to_pipe and target.resolve().is_relative_to(loaded.data_dir.resolve()):
        fail(f"{target} stands in the data directory, and would be a part of itself", EX_CANTCREAT)
    try:
        with reachable(), _opened(target) as writer:
            names = list(files.members(loaded))
            for name, path in names:
                writer.add(name, path)
            beside = loaded.data_dir if to_pipe else target.absolute().parent
            with tempfile.TemporaryDirectory(prefix=files.STAGING, dir=beside) as staging:
                for path in ledger.dump(loaded.registry.ledger, loaded.data_dir, Path(staging)):
                    writer.add(f"{files.LEDGER}/{path.name}", path)
            made_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            facts = {"made_at": made_at, "version": version("izinli"), "config": loaded.path.name}
            writer.close({**facts, "ledger": loaded.registry.ledger.partition(":")[0]})
    except OSError as error:
        fail(f"{target}: {error.strerror or error}; nothing was overwritten, and no backup was made", EX_CANTCREAT)
    said = f"written: {escape(str(target))} ({len(names)} files and the ledger); it holds keys and addresses"
    (errors if to_pipe else console).print(said)


@contextmanager
def _opened(target: Path) -> Iterator[archive.Writer]:
    """A new backup there. Raises OSError."""
    if str(target) != "-":
        with archive.create(target) as writer:
            yield writer
        return
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out, archive.stream(out) as writer:
        yield writer


def restore(
    source: Annotated[Path, typer.Argument(help="What `izinli backup` wrote. -: standard input.")],
    directory: Annotated[Path, typer.Argument(help="Where the configuration goes: a new or empty directory.")],
    ledger: Annotated[
        str, typer.Option("--ledger", metavar="URL", help="Another PostgreSQL than the one of the configuration.")
    ] = "",
    outside: Annotated[
        bool, typer.Option("--outside", help="Put files back too that stood outside of the configuration's directory.")
    ] = False,
) -> None:
    """Make an installation of a backup. Nothing is overwritten."""
    from registry.backup import NotEmpty, NotReadable

    try:
        with reachable(), _fresh(directory) as staging:
            facts = archive.unpack(sys.stdin.buffer if str(source) == "-" else source, staging)
            config = _Restore(staging, directory, outside=outside).run(str(facts.get("config")), ledger)
    except archive.BadArchive as error:
        fail(f"{source}: {error}", EX_DATAERR)
    except (NotEmpty, NotReadable) as error:
        fail(f"{error}; nothing was restored", EX_CANTCREAT if isinstance(error, NotEmpty) else EX_DATAERR)
    except OSError as error:
        fail(f"{error.filename or directory}: {error.strerror or error}; nothing was restored", EX_CANTCREAT)
    console.print(f"restored: {escape(str(directory))}, as of {facts.get('made_at')}")
    console.print(f"next:     izinli ledger verify -c {escape(str(config))}")
    console.print(f"          izinli serve -c {escape(str(config))}        (it builds the index)")


@contextmanager
def _fresh(directory: Path) -> Iterator[Path]:
    """A place to unpack, in a directory that is new or empty; if this fails it is so again. Raises OSError."""
    made = not directory.exists()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(17, "is not empty", str(directory))
    staging = directory / ".restoring"
    staging.mkdir(mode=0o700)
    try:
        yield staging
    except BaseException:
        archive.empty(directory)
        if made:
            directory.rmdir()
        raise
    shutil.rmtree(staging)


class _Restore:
    """From what was unpacked to an installation. What was put outside is taken away again when it fails."""

    def __init__(self, staging: Path, home: Path, *, outside: bool) -> None:
        self._staging = staging
        self._home = home.resolve()
        self._outside = outside
        self._put: list[Path] = []

    def run(self, config_name: str, url: str) -> Path:
        """The path of the configuration. Raises what registry.backup.load does, BadArchive and OSError."""
        from registry import backup

        try:
            path = self._home / config_name
            self._move(files.CONFIG, self._home)
            if (self._staging / files.OUTSIDE).exists():
                self._move(files.OUTSIDE, Path("/"))
            config = self._config(path, url)
            self._move(files.DATA, config.data_dir.resolve())
            backup.load(config.registry.ledger, config.data_dir, self._staging / files.LEDGER)
        except BaseException:
            for one in self._put:
                one.unlink(missing_ok=True)
            raise
        return path

    def _config(self, path: Path, url: str) -> Config:
        """The configuration, with another ledger if there is to be one."""
        try:
            config = load(path)
            if url:
                text = path.read_text(encoding="utf-8")
                if text.count(f'"{config.registry.ledger}"') != 1:
                    raise archive.BadArchive("the configuration does not name its ledger in one place; change it there")
                path.write_text(text.replace(f'"{config.registry.ledger}"', f'"{url}"'), encoding="utf-8")
                config = load(path)
        except ConfigError as error:
            said = "; ".join(map(str, error.problems))
            raise archive.BadArchive(f"its configuration cannot be used here: {said}") from error
        return config

    def _move(self, part: str, target: Path) -> None:
        """One part of the backup to its place. Raises OSError; nothing is overwritten."""
        source = self._staging / part
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            place = target / path.relative_to(source)
            if not place.is_relative_to(self._home) and not self._outside:
                raise FileExistsError(17, f"stands outside of {self._home}; say --outside to put it there", str(place))
            if place.exists():
                if part == files.OUTSIDE and place.read_bytes() == path.read_bytes():
                    continue  # as a list of authorities that every machine has
                raise FileExistsError(17, "exists", str(place))
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            place.chmod(0o600)
            if not place.is_relative_to(self._home):
                self._put.append(place)
