"""Plans of OpenVINO kept beside a converted network: reading one takes a third of the time of making it.

They lie in the folder of the network (`model_cache`), whose key names the libraries' versions and the processor; the
name of a plan is that of the settings that it was made with. Each file begins with the SHA-256 of what follows: what
was damaged, or only begun, is made again. A file is put in its place in one step, so that processes may share it.
OpenVINO's own cache is not used: it does not notice that weights have changed
(findings/openvino-cache-keeps-old-weights.sh).
"""

import contextlib
import hashlib
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import replacing

log = logging.getLogger(__name__)

_SUFFIX = ".plan"
_MOST = 2
"""Plans of a network, for as many settings; each is as large as the network."""


@dataclass(frozen=True, slots=True)
class KeptPlans:
    """The plans of one network, for pages of any shape.

    Attributes:
        folder: Of the network.
    """

    folder: Path

    def find(self, core: Any, settings: Mapping[str, Any]) -> Any | None:
        """A compiled model, ready to run on the CPU; None where none is kept or it cannot be used.

        Args:
            core: OpenVINO's entry.
            settings: What the plan must have been made with.
        """
        try:
            content = self._file(settings).read_bytes()
        except OSError:
            return None
        digest, plan = content[:32], memoryview(content)[32:]
        if hashlib.sha256(plan).digest() != digest:
            log.debug("a kept plan is damaged: %s", self._file(settings))
            return None
        with contextlib.suppress(RuntimeError):  # whatever OpenVINO finds wrong with it
            return core.import_model(io.BytesIO(plan), "CPU", dict(settings))
        return None

    def keep(self, compiled: Any, settings: Mapping[str, Any]) -> None:
        """Keeps a compiled model; a folder that cannot be written, or is gone, only costs time."""
        if not self.folder.is_dir():
            return
        try:
            stream = io.BytesIO()
            compiled.export_model(stream)
            plan = stream.getvalue()
            with replacing(self._file(settings)) as temporary:
                temporary.write_bytes(hashlib.sha256(plan).digest() + plan)
            kept = sorted(self.folder.glob(f"*{_SUFFIX}"), key=lambda file: -file.stat().st_mtime_ns)
            for old in kept[_MOST:]:
                old.unlink(missing_ok=True)
        except (ArtifactError, OSError, RuntimeError) as error:
            log.debug("the plan is not kept: %s", error)

    def _file(self, settings: Mapping[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{name}{_SUFFIX}"
