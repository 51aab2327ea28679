"""Reads what the last stage of a Dockerfile tells of the container: environment, entry point, command, health check."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """What the image sets; each in the exec form, that is as a list, as nothing else lets moorage be process 1."""

    environment: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    healthcheck: list[str]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read `file`, in which each ENV sets one variable."""
        stage = re.split(r"^FROM .*$", file.read_text("utf-8"), flags=re.MULTILINE)[-1].replace("\\\n", " ")
        environment = dict(re.findall(r"^ENV (MOORAGE_\w+)=(\S+)$", stage, re.MULTILINE))
        forms = (r"^ENTRYPOINT (.+)$", r"^CMD (.+)$", r"^HEALTHCHECK .*?CMD (.+)$")
        found = [re.search(form, stage, re.MULTILINE) for form in forms]
        return cls(environment, *(json.loads(match[1]) if match else [] for match in found))
