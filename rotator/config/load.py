"""Finding and reading the configuration: one pass over everything, every problem at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from rotator.access.aws import AwsSettings
from rotator.config.accounts import Known, read_entries
from rotator.config.adapters import DESTINATION_TYPES, PROVIDER_TYPES, SINK_TYPES
from rotator.config.consumers import read_consumers
from rotator.config.document import Document, KeyPath, read_document
from rotator.config.entries import (
    AuditEntry,
    CredentialEntry,
    DefaultsEntry,
    EngineEntry,
    EvidenceEntry,
    FileEntry,
    PolicyEntry,
    ProviderEntry,
    SealEntry,
    StoreEntry,
    TargetEntry,
)
from rotator.config.merging import Layer
from rotator.config.models import (
    AuditConfig,
    Config,
    CredentialConfig,
    DestinationConfig,
    ProviderConfig,
    SealConfig,
    SinkConfig,
    StoreConfig,
)
from rotator.config.notify import NotifyEntry, read_notify
from rotator.config.own import files_of, references
from rotator.config.part import Part, known_keys
from rotator.config.policies import read_policy
from rotator.config.problems import ConfigError, Problem, did_you_mean, reason, shown, suggest_key
from rotator.config.targets import Places, Source, names_of, read_targets, slowest
from rotator.domain.errors import RotatorError, SetupError
from rotator.domain.reactions import Caps
from rotator.domain.usage import MILLION
from rotator.engine.work import Bounds, Limits
from rotator.ports.provider import Capabilities, Provider

FALLBACKS = (Path("rotator.yaml"), Path("/etc/rotator/rotator.yaml"))

MAIN = "rotator.yaml"
"""The file of a folder that may hold everything; the others of it are as if it included them."""

_BESIDE = ("*.yaml", "*.yml")

_SHARED = {"credentials", "defaults", "defaults.policy", *known_keys(PolicyEntry, "defaults.policy.")}
_SECTIONS = {
    "store": StoreEntry,
    "seal": SealEntry,
    "engine": EngineEntry,
    "evidence": EvidenceEntry,
    "audit": AuditEntry,
}
_MAIN = (
    {*_SHARED, "providers", "destinations", "notify", *_SECTIONS}
    | known_keys(FileEntry)
    | known_keys(NotifyEntry, "notify.")
    | {key for name, model in _SECTIONS.items() for key in known_keys(model, f"{name}.")}
)
_CREDENTIAL = (
    known_keys(CredentialEntry) | known_keys(PolicyEntry, "policy.") | known_keys(TargetEntry, "destinations.")
)


def find(explicit: str | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: `--config`, else `$ROTATOR_CONFIG`, else the usual places. Raises SetupError."""
    for name, named in (("--config", explicit), ("$ROTATOR_CONFIG", environ.get("ROTATOR_CONFIG"))):
        if named:
            if Path(named).exists():
                return Path(named)
            message = f"there is no configuration file {named}, which {name} names"
            raise SetupError(
                message, reason="no_configuration", remedy="check the path; `rotator init` writes starter files"
            )
    for path in FALLBACKS:
        if path.exists():
            return path
    places = ", ".join(["--config", "$ROTATOR_CONFIG", *(str(path.absolute()) for path in FALLBACKS)])
    message = f"there is no configuration file; looked at {places}"
    raise SetupError(
        message, reason="no_configuration", remedy="`rotator init` writes starter files, or name yours by --config"
    )


def load(path: Path) -> Config:
    """Read the file and everything it includes; of a folder, its `rotator.yaml` and every other YAML file beside it.

    Opens no database, asks no provider and reads no secret. Raises ConfigError with every problem at once, and
    SetupError where the file itself cannot be read. May be repeated.
    """
    problems: list[Problem] = []
    file, beside = _main_of(path)
    main = Part.whole(read_document(file, file.name), problems, _MAIN)
    config = _read(file, main, beside)
    if problems or config is None:
        raise ConfigError(file, _in_order(problems))
    return config


def files(path: Path) -> list[Path]:
    """The files that `load` reads, whatever is wrong with them. Raises SetupError where the main one cannot be read."""
    file, beside = _main_of(path)
    data = read_document(file, file.name).data
    patterns = data.get("include") if isinstance(data, dict) else None
    found = [file]
    for pattern in (*(patterns if isinstance(patterns, list) else ()), *beside):
        with suppress(NotImplementedError, ValueError, OSError, TypeError):
            found += _matched(file.parent, pattern)
    return list(dict.fromkeys(found))


def _main_of(path: Path) -> tuple[Path, Sequence[str]]:
    """The main file, and the patterns of those that are included without being named."""
    return (path / MAIN, _BESIDE) if path.is_dir() else (path, ())


def _matched(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    """By file and line; one that several credentials share is told once."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return sorted(dict.fromkeys(problems), key=lambda problem: (files.index(problem.file), problem.line or 0))


def _read(path: Path, main: Part, beside: Sequence[str]) -> Config | None:
    if main.data is None:
        main.report("the file is empty", "`rotator init` writes one to start from")
        return None
    if not isinstance(main.data, dict):
        main.report("the file must be a mapping of keys to values")
        return None
    _unknown_keys(main)
    top = main.picked("environment", "include", "cards")
    head = top.read(FileEntry) or top.read_rest(FileEntry) or FileEntry()
    store, seal, engine = _store(main), _seal(main), _engine(main)
    evidence = main.at("evidence").read(EvidenceEntry)
    audit, sinks, required = _audit(main)
    providers = read_entries(main.at("providers"), PROVIDER_TYPES, ProviderConfig, ProviderEntry)
    servers = read_entries(main.at("destinations"), DESTINATION_TYPES, DestinationConfig)
    places = Places({name: known.config for name, known in servers.items()}, engine.call_budget)
    names: dict[str, Part] = {}
    files = (main, *_included(main, head.include or (), beside))
    credentials = dict(_credentials(files, providers, places, names))
    _former_names(names)
    _own_keys(credentials, providers, places, names)
    return Config(
        path=path,
        environment=head.environment,
        store=store,
        seal=seal,
        engine=engine,
        drop=evidence.drop if evidence else None,
        cards=head.cards,
        sinks=sinks,
        require_sink=required,
        audit=audit,
        providers={name: known.config for name, known in providers.items() if known.config},
        destinations={name: config for name, config in places.destinations.items() if config},
        credentials=credentials,
        routes=read_notify(main.at("notify"), credentials),
    )


def _unknown_keys(file: Part) -> None:
    for key in file.data:
        if key not in file.known:
            file.report("unknown key", suggest_key((key,), file.known), at=(key,))


def _store(main: Part) -> StoreConfig:
    entry = main.at("store").read(StoreEntry)
    folder = main.document.folder
    anchor = folder / entry.anchor if entry and entry.anchor else None
    owner = entry.owner if entry else None
    return StoreConfig(url=entry.url if entry else "", owner=owner, folder=folder, anchor=anchor)


def _seal(main: Part) -> SealConfig:
    part = main.at("seal")
    entry = part.read(SealEntry) or main.picked().read(SealEntry)
    assert entry is not None
    keys = (entry.key, *entry.also)
    if len({key.text for key in keys}) < len(keys):
        part.report("names a key twice, here and in `seal.key` or above", at=("also",))
    transit = next((key.text for key in keys if key.text.startswith("vault-transit:")), None)
    if transit is not None and entry.vault is None:
        hint = "`seal.vault: {address: https://…, auth: {method: token, token: env:VAULT_TOKEN}}`"
        part.report(f"`{transit}` needs to know the server", hint, at=("vault",))
    return SealConfig(
        key=entry.key, also=entry.also, aws=entry.aws or AwsSettings(), vault=entry.vault, keep=entry.keep
    )


def _engine(main: Part) -> Limits:
    part = main.at("engine")
    entry = part.read(EngineEntry) or part.read_rest(EngineEntry) or EngineEntry()
    if entry.call_budget >= entry.lease:
        part.report(
            "must be shorter than `engine.lease`: a call that outlives its lease is unsafe", at=("call_budget",)
        )
    if entry.retry.first > entry.retry.most:
        part.report("must not be longer than `engine.retry.most`", at=("retry", "first"))
    return Limits(
        lease=entry.lease,
        call_budget=entry.call_budget,
        workers=entry.workers,
        in_flight=entry.in_flight,
        brake_failures=entry.brake.failures,
        brake_pause=entry.brake.pause,
        caps=Caps(per_hour=entry.reactions.per_hour, cool_down=entry.reactions.cool_down),
        watch=entry.watch,
        sample=entry.sample,
        retry_first=entry.retry.first,
        retry_most=entry.retry.most,
    )


def _audit(main: Part) -> tuple[AuditConfig, Mapping[str, SinkConfig], tuple[str, ...]]:
    """Who signs; the sinks, and which of them must hear of it before a key is created or taken away."""
    part = main.at("audit")
    entry = part.read(AuditEntry) or AuditEntry()
    signing = AuditConfig(
        signing_key=entry.signing_key,
        former_keys=tuple(entry.former_keys or ()),
        events=entry.events,
        every=entry.every,
    )
    sinks = read_entries(part.at("sinks"), SINK_TYPES, SinkConfig)
    required = tuple(entry.require_sink or ())
    for position, name in enumerate(required):
        if name not in sinks:
            hint = did_you_mean(name, sinks) or "name an entry of `audit.sinks`"
            part.report(f"no sink is called `{shown(name)}`", hint, at=("require_sink", position))
    return signing, {name: known.config for name, known in sinks.items() if known.config}, required


def _included(main: Part, patterns: Sequence[str], beside: Sequence[str]) -> Iterator[Part]:
    """Every file that a pattern matches, once, in the order of the patterns and then of the names.

    The patterns `beside` are not the file's own, and may match nothing.
    """
    folder = main.document.folder
    seen = {(folder / main.document.name).resolve()}
    for position, pattern in enumerate((*patterns, *beside)):
        at = ("include", position) if position < len(patterns) else ()
        try:
            files = _matched(folder, pattern)
        except (NotImplementedError, ValueError, OSError):
            main.report("is not a pattern relative to this file, such as teams/*.yaml", at=at)
            continue
        if not files and at:
            main.report("matches no file", at=at)
        for path in files:
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            document = _document(main, path, at)
            if document is not None:
                yield Part.whole(document, main.problems, _SHARED)


def _document(main: Part, path: Path, at: KeyPath) -> Document | None:
    folder = main.document.folder
    name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    try:
        return read_document(path, name)
    except SetupError as problem:
        main.report(problem.message, problem.remedy, at=at)
        return None


def _former_names(names: Mapping[str, Part]) -> None:
    """A credential that was renamed takes its history along, so nobody else may have its former name."""
    taken: dict[str, str] = {}
    for name, part in names.items():
        former = part.at("moved_from").data
        if not isinstance(former, str):
            continue
        if former in names:
            whose = "its own name" if former == name else "another credential of this file"
            part.report(f"`{shown(former)}` is {whose}", at=("moved_from",))
        elif former in taken:
            part.report(f"`{shown(former)}` is the former name of `{taken[former]}` already", at=("moved_from",))
        taken.setdefault(former, name)


def _own_keys(
    credentials: Mapping[str, CredentialConfig],
    providers: Mapping[str, Known[ProviderConfig]],
    places: Places,
    names: Mapping[str, Part],
) -> None:
    """A key that would manage itself: its provider reads our own credential where the new key is written.

    Where its provider says that it can be (`OWN`), it is.
    """
    for name, credential in credentials.items():
        account = providers[credential.provider].config
        settings, adapter = (account.settings, account.adapter) if account is not None else (None, None)
        entry = f"providers.{credential.provider}"
        fine = {f"{entry}.{setting}" for setting in getattr(adapter, "OWN", ())}
        ours = {
            own.file: own.place
            for own in references(entry, settings)
            if own.file is not None and own.place not in fine and not own.place.endswith(".profile")
        }
        for position, file in files_of(credential, places.destinations).items():
            if file in ours:
                message = f"is where `{ours[file]}` is read: the key that is managed would manage itself"
                hint = "write it elsewhere; for a key of AWS's own user, name a `profile`"
                names[name].at("destinations").at(position).report(message, hint)


def _credentials(
    files: Sequence[Part],
    providers: Mapping[str, Known[ProviderConfig]],
    places: Places,
    names: dict[str, Part],
) -> Iterator[tuple[str, CredentialConfig]]:
    """Every credential that is right, of the main file and all included. `names` is filled with the parts of all."""
    main = files[0]
    shared = _defaults(main)
    for file in files:
        layers = list(shared)
        if file is not main and file.data is not None:
            if not isinstance(file.data, dict):
                file.report("the file must be a mapping of keys to values")
                continue
            for key in file.data:
                if key not in ("credentials", "defaults"):
                    hint = suggest_key((key,), file.known)
                    file.report("an included file may hold `credentials` and `defaults` only", hint, at=(key,))
            layers += _defaults(file)
        for name, part in file.at("credentials").named():
            if name in names:
                other = names[name]
                part.report(f"there is another credential `{name}` at {other.document.name}:{other.line}")
                continue
            names[name] = part
            credential = read_credential(name, part, layers, providers, places)
            if credential is not None:
                yield name, credential


def _defaults(file: Part) -> list[Layer]:
    if file.at("defaults").read(DefaultsEntry) is None:
        return []
    return [Layer.of("defaults", file.at("defaults").at("policy"))]


def read_credential(
    name: str,
    part: Part,
    layers: Sequence[Layer],
    providers: Mapping[str, Known[ProviderConfig]],
    places: Places,
) -> CredentialConfig | None:
    """One credential; every part is looked at, even where another one is wrong."""
    before = len(part.problems)
    account = _account(part, providers)
    adapter = account.adapter if account else None
    part = part.entry(_CREDENTIAL | (known_keys(adapter.Options, "options.") if adapter else set()))
    entry = part.read(CredentialEntry)
    if not isinstance(part.data, dict):
        return None
    options = part.at("options").read(adapter.Options) if adapter else None
    capabilities = _capabilities(part, account, options, places.timeout) if account else None
    own = Layer.of("credential", part.at("policy"))
    targets = read_targets(part.at("destinations"), Source(name, capabilities), places)
    waves = max(len({target.wave for target in targets}), 1)
    lag, paired = slowest(part.at("destinations"), targets), any(target.companions for target in targets)
    policy = read_policy(part.at("policy"), [*layers, own], capabilities, waves=waves, lag=lag, paired=paired)
    consumers = read_consumers(part.at("consumers"), names_of(part.at("destinations")))
    bounds = _bounds(part, entry or part.read_rest(CredentialEntry), capabilities)
    if len(part.problems) > before or entry is None or policy is None:
        return None
    return CredentialConfig(
        name=name,
        provider=entry.provider,
        options=options,
        policy=policy[0],
        destinations=targets,
        labels=entry.labels or {},
        owner=entry.owner,
        runbook=entry.runbook,
        consumers=consumers,
        moved_from=entry.moved_from,
        places=policy[1],
        bounds=bounds,
        on=entry.on or {},
    )


def _capabilities(
    part: Part, account: Known[ProviderConfig], options: object, timeout: timedelta
) -> Capabilities | None:
    """What the provider can do; where a problem keeps it from being built, what its class says, or None."""
    of_class = getattr(account.adapter, "capabilities", None)
    if account.config is not None and options is not None:
        try:
            bound: Provider = account.config.adapter(account.config.settings, timeout).bind(options)
        except (RotatorError, ValueError) as problem:
            part.report(reason(problem), at=("options",))
        else:
            return bound.capabilities
    return of_class if isinstance(of_class, Capabilities) else None


def _bounds(part: Part, entry: CredentialEntry | None, capabilities: Capabilities | None) -> Bounds:
    """What the keys may do at most. What nobody can compare is no bound."""
    if entry is None:
        return Bounds()
    if capabilities is not None:
        told, listed = capabilities.permissions == "read", capabilities.allow_list
        if entry.expect_policies is not None and not told:
            part.report("the provider does not tell policies: take it out", at=("expect_policies",))
        if entry.allowed_ips is not None and not told and listed is None:
            message = "the provider neither limits nor tells from where keys are used: take it out"
            part.report(message, at=("allowed_ips",))
        if listed is not None and len(entry.allowed_ips or ()) > listed.most:
            part.report(f"the provider's list holds at most {listed.most}", at=("allowed_ips",))
        if entry.allowed_ips_confirmed is not None and (listed is None or entry.allowed_ips is None):
            message = "is for `allowed_ips` that only a person can see at the provider's console: take it out"
            part.report(message, at=("allowed_ips_confirmed",))
    return Bounds(
        networks=None if entry.allowed_ips is None else tuple(entry.allowed_ips),
        confirmed=entry.allowed_ips_confirmed,
        policies=None if entry.expect_policies is None else tuple(entry.expect_policies),
        budget=None if entry.budget is None else round(entry.budget * MILLION),
    )


def _account(part: Part, providers: Mapping[str, Known[ProviderConfig]]) -> Known[ProviderConfig] | None:
    name = part.at("provider").data
    if not isinstance(name, str) or not name or name in providers:
        return providers.get(name) if isinstance(name, str) else None
    hint = did_you_mean(name, providers)
    if PROVIDER_TYPES.knows(name):
        hint = f"list it under `providers`: `{name}: {{}}`"
    part.report(f"no provider is called `{shown(name)}`", hint, at=("provider",))
    return None
