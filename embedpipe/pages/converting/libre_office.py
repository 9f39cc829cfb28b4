"""What is special about LibreOffice: its settings, its parts, and files with a password that it tells nothing of."""

import contextlib
import os
import zipfile
import zlib
from pathlib import Path

_COMPONENT = "org.openoffice.Office."
_SETTINGS = (
    (f"{_COMPONENT}Common/Security/Scripting", "MacroSecurityLevel", "3"),
    (f"{_COMPONENT}Common/Security/Scripting", "DisableMacrosExecution", "true"),
    (f"{_COMPONENT}Common/Security/Scripting", "BlockUntrustedRefererLinks", "true"),
    (f"{_COMPONENT}Common/Security/Scripting", "DisableActiveContent", "true"),
    (f"{_COMPONENT}Common/Save/Document", "AutoSave", "false"),
    (f"{_COMPONENT}Recovery/AutoSave", "Enabled", "false"),
    (f"{_COMPONENT}Writer/Content/Update", "Link", "0"),
    (f"{_COMPONENT}Calc/Content/Update", "Link", "2"),
    (f"{_COMPONENT}Common/Misc", "FirstRun", "false"),
    (f"{_COMPONENT}Common/Misc", "CrashReport", "false"),
)
"""No macros and no active content; nothing that a document leads to elsewhere is fetched; links are not followed."""

_PARTS = {"Writer (texts)": "libswlo", "Calc (workbooks)": "libsclo", "Impress (presentations)": "libsdlo"}
_MOST_MANIFEST = 4 * 1024**2


def write_settings(profile: Path) -> None:
    """Writes the settings into the folder that a LibreOffice is told to keep them in."""
    items = "".join(
        f'<item oor:path="/{path}"><prop oor:name="{name}" oor:op="fuse"><value>{value}</value></prop></item>'
        for path, name, value in _SETTINGS
    )
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<oor:items xmlns:oor="http://openoffice.org/2001/registry"'
    space = ' xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    (profile / "user").mkdir()
    (profile / "user" / "registrymodifications.xcu").write_text(f"{head}{space}{items}</oor:items>", encoding="utf-8")


def lacking(program: str) -> str:
    """The parts that an installation lacks, as packages of Linux systems may: "" where all are there, or not known."""
    folder = Path(os.path.realpath(program)).parent
    here = {part: any(folder.glob(f"{stem}.*")) for part, stem in _PARTS.items()}
    return ", ".join(part for part, found in here.items() if not found) if any(here.values()) else ""


def is_locked(source: Path) -> bool:
    """Whether an OpenDocument file is encrypted, which its list of files tells."""
    unreadable = (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, LookupError, ValueError)
    with contextlib.suppress(*unreadable), zipfile.ZipFile(source) as archive:
        info = archive.getinfo("META-INF/manifest.xml")
        return info.file_size < _MOST_MANIFEST and b"encryption-data" in archive.read(info)
    return False
