"""What a build leaves on disk, so that it can be interrupted, looked into and accounted for.

A directory: manifest.json (what decides the build), one JSONL file a stage with what each environment became there,
rejected.jsonl. A line is appended and flushed when a stage of an environment ends; a torn last line is dropped. When a
build has ended, every file is sorted, so that an interrupted build ends with the bytes of an undisturbed one. Failed
requests are no verdict on an environment: they leave no line, and a resumed build asks again.

Left out of the lines: how often requests were retried, which is the network's doing, and the tokens of a stage that
was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from envbuilder.model.author import InvalidReply, StageUsage
from envbuilder.model.requests import EnvironmentRequest
from envbuilder.model.stages import STAGES
from envbuilder.records import (
    DeployedToolset,
    Scenario,
    Toolset,
    deployed_toolset_from_json,
    scenario_from_json,
    stage_to_json,
    toolset_from_json,
)
from harness.data import disk, jsonio
from harness.errors import UsageError
from harness.redaction import Redactor
from harness.runs.claims import claim_directory, is_free
from harness.runs.directory import RecordAppender, record_to_line
from harness.types import Usage

SCHEMA = 1
MANIFEST = "manifest.json"
REJECTED = "rejected.jsonl"
STAGE_FILES = {stage: f"{number}-{stage}.jsonl" for number, stage in enumerate(STAGES, start=1)}
StageProduct = Scenario | Toolset | DeployedToolset
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rejection:
    """An environment that was given up: at which stage, the reason in a word, and the sentence about it."""

    index: int
    stage: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Where an environment stands: how many stages are behind it, and what the last of them made."""

    stages: int = 0
    product: StageProduct | None = None


class BuildDirectory:
    """One build's directory. Inside its context this process is the one that writes.

    `redact` takes secrets out of all that is written. Raises UsageError where the directory holds anything else, where
    a line of it is broken, and where another process writes.
    """

    def __init__(self, directory: Path, redact: Redactor | None = None) -> None:
        self.directory = directory
        self._redact = redact or Redactor()
        self._open = ExitStack()
        self._files: dict[str, RecordAppender] = {}
        self._latest: dict[int, tuple[str, Line]] = {}

    def start(self, identity: Mapping[str, Any]) -> None:
        """Begins a build, or goes on with one that the same `identity` decides; `close` or the end of the context
        gives it up."""
        own = self._redact.redact_json({"schema": SCHEMA, "identity": dict(identity)})
        self._open.enter_context(claim_directory(self.directory, partial(self._check, own), partial(self._begin, own)))
        self._latest.clear()
        for stage, name in (*STAGE_FILES.items(), (REJECTED, REJECTED)):
            path = self.directory / name
            self._files[stage] = self._open.enter_context(RecordAppender(path))
            self._latest.update((line["index"], (stage, line)) for line in read_lines(path))

    def _check(self, own: Line) -> Line | None:
        """What the directory's manifest says where it is this build's, None where it can begin there."""
        path = self.directory / MANIFEST
        if path.exists():
            if read_manifest(path) != own:
                raise UsageError(f"{self.directory} holds the stages of another build; name another directory.")
            return own
        if not is_free(self.directory, MANIFEST):
            raise UsageError(f"{self.directory} exists and holds no stages of a build; name another directory.")
        return None

    def _begin(self, own: Line) -> Line:
        jsonio.write_json(self.directory / MANIFEST, own)
        return own

    def find_progress(self, request: EnvironmentRequest) -> BuildProgress | Rejection:
        """Where this environment stands. Raises UsageError where its number was another request's."""
        stage, line = self._latest.pop(request.index, ("", {}))
        if not line:
            return BuildProgress()
        if line["request"] != digest(request):
            raise UsageError(f"{self.directory}: environment {request.index} was made for another request.")
        return standing(stage, line)

    def append_product(
        self, request: EnvironmentRequest, stage: str, product: StageProduct, ledger: StageUsage
    ) -> None:
        """An environment has come through a stage."""
        self._files[stage].append(
            self._redact.redact_json({**account(request, ledger), "product": stage_to_json(product)})
        )

    def append_rejection(
        self, request: EnvironmentRequest, stage: str, invalid: InvalidReply, ledger: StageUsage
    ) -> Rejection:
        """An environment is given up."""
        rejection = Rejection(request.index, stage, invalid.reason, self._redact(str(invalid)))
        verdict = {"stage": stage, "reason": rejection.reason, "message": rejection.message}
        self._files[REJECTED].append(self._redact.redact_json({**account(request, ledger), **verdict}))
        return rejection

    def finish(self) -> None:
        """The build has ended: every file in the order of the environments."""
        for name in (*STAGE_FILES.values(), REJECTED):
            path = self.directory / name
            lines = sorted(read_lines(path), key=lambda line: int(line["index"]))
            jsonio.write_atomically(path, "".join(record_to_line(value) for value in lines))
        self.close()

    def close(self) -> None:
        self._open.close()
        self._files.clear()

    def __enter__(self) -> BuildDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def account(request: EnvironmentRequest, ledger: StageUsage) -> Line:
    usage = asdict(ledger.usage)
    del usage["retries"]
    return {"index": request.index, "request": digest(request), "usage": usage, "faults": list(ledger.faults)}


def digest(request: EnvironmentRequest) -> str:
    return jsonio.digest(asdict(request))


def standing(stage: str, line: Line) -> BuildProgress | Rejection:
    """Where an environment stands, by its latest line."""
    if stage == REJECTED:
        return Rejection(line["index"], line["stage"], line["reason"], line["message"])
    return BuildProgress(STAGES.index(stage) + 1, product_of(stage, line["product"]))


def product_of(stage: str, value: Line) -> StageProduct:
    if stage == "scenario":
        return scenario_from_json(value)
    return deployed_toolset_from_json(value) if stage == "deployment" else toolset_from_json(value)


def read_manifest(path: Path) -> Any:
    try:
        return jsonio.read_json(path, links=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None


def read_lines(path: Path) -> Iterator[Line]:
    """The whole lines of one of the files, if it is there. Raises UsageError for a line that is none of ours."""
    if not path.exists():
        return
    stage = next((stage for stage, name in STAGE_FILES.items() if name == path.name), REJECTED)
    with disk.open_file(path, links=False) as file:
        for number, text in enumerate(disk.read_lines(file, path), start=1):
            if not text.endswith(b"\n"):
                return  # torn
            try:
                line = jsonio.parse_json(text)
                check(stage, line)
            except (ValueError, TypeError, LookupError, AttributeError):
                raise UsageError(
                    f"{path}, line {number} is no line of a build; remove it, and that stage runs again."
                ) from None
            yield line


def check(stage: str, line: Line) -> None:
    """Raises ValueError, TypeError, LookupError or AttributeError for what `append_product` and
    `append_rejection` do not write."""
    if type(line["index"]) is not int or not isinstance(line["request"], str):
        raise TypeError
    Usage() + Usage(**line["usage"])
    set(line["faults"])
    at = standing(stage, line)
    if isinstance(at, Rejection) and (at.stage not in STAGES or not isinstance(at.reason, str)):
        raise ValueError
