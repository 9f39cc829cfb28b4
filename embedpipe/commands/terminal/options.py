"""The options that commands share, in groups: a parameter that is one of these dataclasses becomes its options."""

import dataclasses
import functools
import inspect
import re
import typing
import unicodedata
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.terminal.targets import named
from embedpipe.core.display import whole_number
from embedpipe.core.encodings import decode
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.languages.choice import LANGUAGES, VARIABLE
from embedpipe.core.languages.choice import named as named_language

if TYPE_CHECKING:
    from embedpipe.backbones.engines import Backbone
    from embedpipe.backbones.model_cache import Wanted
    from embedpipe.core.records import Identity
    from embedpipe.embedding.streaming import Settings
    from embedpipe.pages.contract import Selection
    from embedpipe.store.workspace import Workspace

AUTO = "auto"
_ENCODINGS = ("cp1252", "gb18030", "mac_roman")
_MOST = 10_000  # render processes, or pages per call: more is a slip


def language_named(text: str) -> str:
    """The language of `--lang`; it was set before, see `choice.asked`, and is only checked here."""
    if (language := named_language(text)) is None:
        raise typer.BadParameter(f"{text}: write {' or '.join(LANGUAGES)}")
    return language


rehearsing = ContextVar("rehearsing", default=False)
"""Whether commands only check their options and outputs, and do nothing."""

in_a_job = ContextVar("in_a_job", default=False)
"""Whether commands are the steps of a job, so that what comes next stands in its file."""

AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go on although labelled documents have lost their features.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Remove without asking.")]
Inputs = Annotated[list[str], typer.Argument(help="Files and folders.", show_default=False)]


@dataclass(frozen=True)
class Common:
    """Of every command."""

    artifacts: Annotated[
        Path,
        typer.Option(
            envvar="EMBEDPIPE_ARTIFACTS",
            metavar="DIR",
            parser=named,
            help="Where features, labels and classifiers are kept.",
        ),
    ] = Path("artifacts")
    share_folder: Annotated[
        bool, typer.Option("--share-folder", help="Let --artifacts be a folder that holds other files already.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no notices.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False
    lang: Annotated[
        str | None,
        typer.Option(
            envvar=VARIABLE,
            metavar="en|zh",
            parser=language_named,
            help="Language of messages and HTML.",
            show_default="that of the locale",
        ),
    ] = None


@dataclass(frozen=True)
class Network:
    """Of commands that may run the network."""

    backbone: Annotated[
        str | None,
        typer.Option(
            help="Name in `backbones`, timm:NAME, finetuned:NAME, several joined by +, or documents.",
            show_default="efficientnet_lite0",
        ),
    ] = None
    weights: Annotated[
        str | None, typer.Option(help="Weights FILE (.pth, .safetensors, .onnx), or `none` for random ones.")
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = AUTO
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = AUTO
    engine: Annotated[str, typer.Option(help="auto, torch or openvino.")] = AUTO

    def __post_init__(self) -> None:
        """Refuses unknown names at once, also where everything is there and no network is run."""
        if (self.device, self.precision, self.engine) != (AUTO, AUTO, AUTO):
            from embedpipe.backbones.engines import check_names

            check_names(self.device, self.precision, self.engine)

    def wanted(self, recipe: Mapping[str, Any] | None = None, upright: str | None = None) -> "Wanted":
        """What is asked for, of a new space; arguments as of `load`."""
        from embedpipe.backbones.engines import EngineChoice
        from embedpipe.backbones.model_cache import Wanted
        from embedpipe.core.records import DEFAULT_BACKBONE

        choice = EngineChoice(self.device, self.precision, self.engine)
        return Wanted(self.backbone or DEFAULT_BACKBONE, self.weights, None, recipe or {}, choice, upright)

    def load(
        self,
        workspace: "Workspace",
        identity: "Identity | None" = None,
        recipe: Mapping[str, Any] | None = None,
        upright: str | None = None,
    ) -> "Backbone":
        """Loads the backbone: that of an identity, or the one that was asked for.

        Args:
            workspace: Where fine-tuned backbones are.
            identity: What features were made with; None for a new space.
            recipe: Fields of `records.Recipe` that differ from the backbone's default.
            upright: One of `names.UPRIGHT`; None for the backbone's default. An identity has its own.
        """
        from embedpipe.classifiers import finetuned

        asked = self.wanted(recipe, upright)
        if identity is not None:
            return finetuned.load_for(workspace, identity, self.backbone, self.weights, asked.choice)
        return finetuned.load(workspace, asked.members(), asked)


@dataclass(frozen=True)
class Reading:
    """Of commands that read documents."""

    pages: Annotated[str, typer.Option(help="Pages of each document: all, 1-3, or 1,last.")] = "all"
    workers: Annotated[str, typer.Option(help="Render processes: auto or a number.")] = AUTO
    batch_size: Annotated[str, typer.Option(help="Pages per call of the network: auto or a number.")] = AUTO
    page_timeout: Annotated[float, typer.Option(help="Seconds that a page may take.", min=0.1, max=86_400)] = 30.0
    page_memory: Annotated[int, typer.Option(help="Megabytes that a page may take.", min=64, max=2**24)] = 2048
    max_file_size: Annotated[int, typer.Option(help="Megabytes of the largest file.", min=1)] = 2048
    max_pages: Annotated[int, typer.Option(help="Most pages of a document.", min=1)] = 20_000
    max_pixels: Annotated[int, typer.Option(help="Megapixels of the largest picture.", min=1)] = 100
    max_members: Annotated[int, typer.Option(help="Most files in an archive or a mailbox.", min=1)] = 200_000
    max_depth: Annotated[int, typer.Option(help="Most containers that a document may lie in.", min=1, max=20)] = 6
    max_unpacked: Annotated[int, typer.Option(help="Most megabytes that one file may unpack to.", min=1)] = 65_536
    convert_timeout: Annotated[
        float, typer.Option(help="Seconds that a program may take to make a PDF of a document.", min=1, max=86_400)
    ] = 180.0
    readers: Annotated[
        str | None,
        typer.Option(
            envvar="EMBEDPIPE_READERS",
            metavar="FILE",
            help="A readers.toml: which programs make PDFs of documents; or `none`.",
            show_default="LibreOffice, if it is there",
        ),
    ] = None
    text_files: Annotated[
        bool, typer.Option("--text-files", help="Read texts as well: .txt, .text, .md and .markdown.")
    ] = False
    attachments: Annotated[
        bool,
        typer.Option("--attachments", help="Look into PDFs for files that are attached to them, as portfolios do."),
    ] = False
    password_file: Annotated[
        Path | None, typer.Option(help="Passwords to try on PDFs, archives and members, one a line.", dir_okay=False)
    ] = None
    trust_mtime: Annotated[
        bool, typer.Option("--trust-mtime", help="Do not hash files again whose size and time are unchanged.")
    ] = False
    exclude: Annotated[
        list[str], typer.Option("--exclude", metavar="GLOB", help="Pass over files and folders of such names.")
    ] = field(default_factory=list)
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links below the folders, each file once.")
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="Files beside the documents in formats that are not read are failures.")
    ] = False

    def check(self) -> None:
        """Raises UsageError or EmbedpipeError as `settings` does."""
        self.settings()

    def settings(self) -> "Settings":
        """As the pipeline takes them; raises UsageError for what cannot be read."""
        from embedpipe.embedding.streaming import Settings
        from embedpipe.pages.converting import table
        from embedpipe.pages.documents import Limits

        if self.readers:
            table.use(self.readers)
        megabyte = 1024**2
        return Settings(
            selection=read_selection(self.pages),
            limits=Limits(
                file_bytes=self.max_file_size * megabyte,
                pages=self.max_pages,
                pixels=self.max_pixels * 1_000_000,
                page_seconds=self.page_timeout,
                page_bytes=self.page_memory * megabyte,
                members=self.max_members,
                depth=self.max_depth,
                unpacked_bytes=self.max_unpacked * megabyte,
                convert_seconds=self.convert_timeout,
                texts=self.text_files,
                attachments=self.attachments,
            ),
            passwords=read_passwords(self.password_file),
            workers=_auto_or_number("--workers", self.workers) or 0,
            batch_size=_auto_or_number("--batch-size", self.batch_size) or 0,
            trust_mtime=self.trust_mtime,
            exclude=read_globs(self.exclude),
            follow_links=self.follow_links,
            strict=self.strict,
        )


@dataclass(frozen=True)
class Recognition:
    """Of commands that may recognise text."""

    ocr: Annotated[
        str,
        typer.Option(help="Recognise text in pictures: never, auto (first and last pages without text), or always."),
    ] = "never"

    def check(self) -> None:
        """Raises UsageError or EmbedpipeError as `on` does."""
        from embedpipe.embedding.streaming import Settings

        self.on(Settings())

    def on(self, settings: "Settings") -> "Settings":
        """Adds it; raises UsageError for an unknown mode, and EmbedpipeError where text cannot be recognised."""
        from embedpipe.pages.extras.ocr import MODES, Ocr

        if self.ocr not in MODES:
            raise UsageError(f"--ocr {self.ocr}: write {', '.join(MODES[:-1])} or {MODES[-1]}")
        ocr = Ocr(self.ocr)
        if ocr:
            ocr.recogniser.check()
        return dataclasses.replace(settings, ocr=ocr)


@dataclass(frozen=True)
class Sharing:
    """Of commands that share a heap."""

    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Read only the I-th of N shards of the files, from 1/N to N/N.")
    ] = None
    plan: Annotated[
        int | None,
        typer.Option(metavar="N", help="Say what each of N shards would cost; keep nothing.", min=1, max=10_000),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop by itself after 2h, 90m or 1h30m, so that it can go on; exit code 75."),
    ] = None
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Embed on all nodes of a Ray cluster: HOST:PORT, auto (one that is found, else one that is started "
            "here), or local.",
        ),
    ] = None
    shards: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --ray: how many shards are handed out.",
            min=1,
            max=10_000,
            show_default="4 for each node",
        ),
    ] = None

    def check(self) -> None:
        """Raises UsageError as `on` does."""
        from embedpipe.embedding.streaming import Settings

        self.on(Settings())

    def on(self, settings: "Settings") -> "Settings":
        """Adds shard and budget; raises UsageError for what is none, or does not go together."""
        from embedpipe.embedding.sharding import Shard

        if self.shard is None:
            shard = None
        else:
            try:
                shard = Shard.parse(self.shard)
            except ValueError:
                raise UsageError(f"--shard {self.shard}: write I/N, counted from 1, such as 3/16") from None
        if shard is not None and self.plan is not None:
            raise UsageError("--plan: it tells of all shards, so leave --shard out")
        if self.shards is not None and self.ray is None:
            raise UsageError("--shards: it goes with --ray; `--shard I/N` reads one of N shards here")
        budget = None if self.budget is None else read_duration(self.budget)
        return dataclasses.replace(settings, shard=shard, budget=budget)


@dataclass(frozen=True)
class Space:
    """Of commands that work on stored features."""

    backbone: Annotated[str | None, typer.Option(help="The features of this backbone.")] = None
    space: Annotated[str | None, typer.Option(help="The features of this space, see `info`.")] = None


@dataclass(frozen=True)
class Labelling:
    """Of commands that fit on labels."""

    labels: Annotated[
        Path | None, typer.Option(help="A list (CSV, .xlsx) with the columns path,label to take labels from first.")
    ] = None
    settings: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of the classifier.")
    ] = field(default_factory=list)
    name: Annotated[str | None, typer.Option(help="Name of the classifier; its kind if not given.")] = None
    pages: Annotated[str, typer.Option(help="Pages of each document to fit on: all, 1-3, or 1,last.")] = "all"
    with_cues: Annotated[
        bool,
        typer.Option(
            "--with-cues", help="Learn in any case from facts of the PDF: page size, number of pages, fonts, areas."
        ),
    ] = False
    blocks: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Learn from these blocks: pictures, words, document, cues, layout, networks or blocks of the space, "
            "with commas between; if not given, from pictures, and from words, layout and whole documents where they "
            "help on held-out documents.",
        ),
    ] = None

    augment: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Learn also from N variants of each page (turned, cropped, blurred, noisy), which are embedded once.",
            min=0,
            max=100,
        ),
    ] = 0
    password_file: Annotated[
        Path | None, typer.Option(help="With --augment: passwords of encrypted PDFs, one a line.", dir_okay=False)
    ] = None
    allow_missing: AllowMissing = False

    def check(self) -> None:
        """Raises UsageError or EmbedpipeError as the other methods do."""
        self.hyperparameters()
        self.named_blocks()
        self.reading()

    def hyperparameters(self) -> dict[str, str]:
        """The `--set` options by name."""
        pairs = [text.partition("=") for text in self.settings]
        for name, mark, _ in pairs:
            if not (name and mark):
                raise UsageError(f"--set {name}: write it as NAME=VALUE, such as --set C=0.1")
        read_selection(self.pages)
        return {name: value for name, _, value in pairs}

    def named_blocks(self) -> tuple[str, ...] | None:
        """The blocks of `--blocks`; raises UsageError where it names none."""
        if self.blocks is None:
            return None
        names = tuple(filter(None, (name.strip() for name in self.blocks.split(","))))
        if not names:
            raise UsageError("--blocks: name some, such as --blocks pictures,words")
        return names

    def reading(self) -> "Settings":
        """How documents are read again for variants."""
        from embedpipe.embedding.streaming import Settings

        return Settings(passwords=read_passwords(self.password_file))


def read_duration(text: str) -> float:
    """Seconds of `--budget`, a time such as 2h, 90m, 1h30m, 45s or 1d; raises UsageError where it is none."""
    match = re.fullmatch(r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,8})m)?(?:(\d{1,9})s)?", text.replace(" ", "").lower())
    numbers = [int(number or 0) for number in match.groups()] if match else []
    seconds = sum(number * unit for number, unit in zip(numbers, (86400, 3600, 60, 1), strict=False))
    if not seconds:
        raise UsageError(f"--budget {text}: write a time such as 2h, 90m or 1h30m")
    return float(seconds)


def read_globs(patterns: list[str]) -> tuple[str, ...]:
    """The patterns of `--exclude`; raises UsageError for one that says nothing."""
    for pattern in patterns:
        if not pattern.strip("/ "):
            raise UsageError(f"--exclude {pattern!r}: write a pattern such as '*.tmp', 'drafts' or 'drafts/old'")
    return tuple(patterns)


def read_selection(text: str) -> "Selection":
    """The pages of each document that `--pages` names; raises UsageError where it cannot be read."""
    from embedpipe.pages.contract import Selection

    try:
        return Selection.parse(text)
    except ValueError:
        raise UsageError(f"--pages {text}: write all, 1-3, or 1,last") from None


def read_passwords(file: Path | None) -> tuple[str, ...]:
    """The passwords of a file, one a line; none without a file. Raises EmbedpipeError where it cannot be read."""
    if file is None:
        return ()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise EmbedpipeError(f"--password-file {file} cannot be read: {error.strerror or error}") from error
    try:
        read = decode(content, f"--password-file {file}")
        texts = [] if read.assumed and b"\0" not in content else [read.text]
    except EmbedpipeError:
        if b"\0" in content:
            raise
        texts = []
    if not texts:  # passwords are only tried, so each reading may be one: a short word tells no encoding
        texts = [content.decode(codec, "ignore") for codec in _ENCODINGS]
    lines = [line for text in texts for line in re.split(r"\r\n|\r|\n", text)]
    forms = [form for line in lines for form in (line, line.strip(), unicodedata.normalize("NFC", line.strip()))]
    return tuple(filter(None, dict.fromkeys(forms)))


def _auto_or_number(option: str, text: str) -> int | None:
    if text == AUTO:
        return None
    number = whole_number(text, _MOST)
    if not number:
        raise UsageError(f"{option} {text}: write auto or a number from 1 to {_MOST}")
    return number


def expand(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets typer see the fields of a function's dataclass parameters as options of their own."""
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        if not dataclasses.is_dataclass(parameter.annotation):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = parameter.annotation
        hints = typing.get_type_hints(parameter.annotation, include_extras=True)
        for option in dataclasses.fields(parameter.annotation):
            default = option.default if option.default is not dataclasses.MISSING else []
            parameters.append(
                inspect.Parameter(
                    option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[option.name]
                )
            )

    @functools.wraps(function)
    def run(**values: Any) -> Any:
        for name, group in groups.items():
            own = {option.name: values.pop(option.name) for option in dataclasses.fields(group)}
            values[name] = group(**own)
        if rehearsing.get():
            for name in groups:
                getattr(values[name], "check", lambda: None)()
            return None
        return function(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
