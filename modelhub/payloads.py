"""The shapes of the data that crosses module and process boundaries, as typed dictionaries.

They are dictionaries since they travel as JSON. Sizes are bytes, times are seconds, moments are Unix seconds;
None is "not known". The marshmallow schemas (progress/schemas.py, web/schemas.py) check and document the
same fields; tests hold the two together.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from modelhub.states import StallCause, State


class ErrorPayload(TypedDict):
    """A failure in words; ``step`` is the checkpoint at which a load failed, where it was in one."""

    code: str
    message: str
    hint: str
    step: NotRequired[int | None]


class Facts(TypedDict):
    """What is known of a loaded model."""

    device: str
    dtype: str
    parameters: int
    bytes: int  # of the weight files
    architecture: str
    task: str | None  # of transformers' pipelines
    chats: bool  # whether it has a chat template, and a task that writes text
    files: int  # weight files
    revision: str | None
    source: str  # folder, cache, hub or demo
    attention: str
    memory: int  # bytes the load took
    unused_tensors: int  # in the files, and not in the model


class Receipt(TypedDict):
    """What an unload freed, over all processes of the server; ``by`` is None where no request caused it."""

    memory_before: int | None
    memory_after: int | None
    freed: int | None
    by: str | None


class ProgressState(TypedDict):
    """How far a load is: the part of a snapshot that the load itself determines."""

    step: int | None
    total: int
    phase: str | None
    message: str | None
    percent: int | None
    done: int | None
    size: int | None
    unit: str | None
    rate: float | None  # bytes a second
    detail: str | None
    progress: float | None  # 0 to 1, of the time
    shares: list[float] | None  # of the bar, by step
    elapsed: float | None
    eta: float | None
    eta_low: float | None
    eta_high: float | None
    stalled_for: float | None
    stall_cause: StallCause | None  # as far as it is known
    steps: list[float | None]  # seconds of each step that has ended


class Use(TypedDict):
    """How a model in memory is used.

    ``idle_since`` and ``leaves_at`` are moments, None while it is in use; the latter also where it stays.
    """

    running: int  # requests that its process works on
    waiting: int  # requests that wait for that
    tokens_per_second: float | None  # over the last seconds, of all; None while no token comes
    idle_since: float | None
    leaves_at: float | None
    memory: int  # bytes: what the load took, and what its process has taken since


class Replica(TypedDict):
    """One more copy of a model that is in memory, or on its way there."""

    node: str | None
    placement: str | None
    state: State  # loading, ready, or failed
    progress: float | None  # 0 to 1, while it loads
    running: int  # requests that its process works on
    waiting: int  # requests that wait for that
    memory: int | None  # bytes
    error: ErrorPayload | None


class Snapshot(ProgressState):
    """The full state of a model, which is the payload of every event about it.

    A completed load adds the ``Facts`` and ``seconds``, a cancelled one ``by``, an unload the ``Receipt``.
    """

    id: str
    model_id: str
    load_id: str | None
    epoch: str
    seq: int
    state: State
    queue_position: int | None
    error: ErrorPayload | None
    use: Use | None  # None unless it is ready
    node: str | None  # of a cluster, where it is or was loaded
    placement: str | None  # why there, in words
    replicas: list[Replica]  # beside the first one

    seconds: NotRequired[float | None]
    by: NotRequired[str | None]

    device: NotRequired[str]
    dtype: NotRequired[str]
    parameters: NotRequired[int]
    bytes: NotRequired[int]
    architecture: NotRequired[str]
    task: NotRequired[str | None]
    chats: NotRequired[bool]
    files: NotRequired[int]
    revision: NotRequired[str | None]
    source: NotRequired[str]
    attention: NotRequired[str]
    memory: NotRequired[int]
    unused_tensors: NotRequired[int]

    memory_before: NotRequired[int | None]
    memory_after: NotRequired[int | None]
    freed: NotRequired[int | None]


class Conditions(TypedDict):
    """What is known of a load before it begins; it decides how long the steps take."""

    source: str  # folder, cache, demo or hub
    device: str  # as requested
    dtype: str
    start: str  # what its process comes from: import, fork, spare or prepared
    wait_s: float  # expected until there is a process
    weight_bytes: int | None
    cached_bytes: int  # of the weights, in the page cache
    fetch_bytes: int | None  # to fetch or to make; None where that is not known
    other_bytes: int  # of configuration, tokenizer and the like
    files: int  # weight files
    others: int  # other loads that run at the same time
    converts: NotRequired[bool]  # whether tensors are converted, which is known from step 5 on


class Forecast(TypedDict):
    """How long a load is expected to take, before it begins; ``low`` and ``high`` are the p10 and the p90."""

    seconds: float
    low: float
    high: float
    steps: list[float]
    basis: str  # what it was learned from: model, machine, or none where nothing was loaded here yet


class OutlookPayload(TypedDict):
    """What is expected of a load: ``core.outlook.Outlook`` as JSON."""

    conditions: Conditions
    forecast: Forecast
    last_seconds: float | None


class Series(TypedDict):
    """Bytes over time in one step: the n-th of ``at`` (seconds since the load began) and of ``bytes``."""

    step: int
    size: int | None
    at: list[float]
    bytes: list[int]


class Counts(TypedDict):
    """The same for what is not bytes: the n-th of ``at`` and of ``done``, in ``unit``."""

    step: int
    unit: str
    size: int | None
    at: list[float]
    done: list[int]


class Stall(TypedDict):
    """A time without news of the load: from when on, in seconds since it began, and for how long."""

    step: int
    at: float
    seconds: float


class Timeline(TypedDict):
    """When each step began, counts over time, and stalls; times are seconds since the load began."""

    began: list[float | None]
    series: list[Series]
    counts: list[Counts]
    stalls: list[Stall]


class LoadRow(TypedDict):
    """A load as the journal keeps it."""

    load_id: str
    model_id: str
    state: State
    by: str
    ended_by: str | None
    requested_at: float
    started_at: float | None
    ended_at: float | None
    seconds: float | None
    bytes: int | None
    memory: int | None
    device: str | None
    dtype: str | None
    requested_device: str | None
    requested_dtype: str | None
    source: str | None
    revision: str | None
    architecture: str | None
    parameters: int | None
    error: ErrorPayload | None
    steps: list[float | None] | None
    conditions: Conditions | None
    forecast: Forecast | None
    node: str | None  # of a cluster, where it was loaded
    placement: str | None  # why there, in words


class LoadResource(LoadRow):
    """A load as REST returns it; ``snapshot`` is that of its model while the load is its latest."""

    snapshot: Snapshot | None


class Particulars(TypedDict):
    """What the page of a model shows beside its state."""

    loads: list[LoadResource]  # the newest first
    outlook: OutlookPayload | None  # of the load under way, or of one that would begin now
    task: str | None  # as far as its files tell
    chats: bool  # whether it has a chat template


class ModelResource(TypedDict):
    """A model as REST returns it.

    ``size_bytes`` is that of its weights, ``need_bytes`` the memory that they take in the settings' dtype.
    ``fits`` is None where that is not known or the model is in memory.
    """

    id: str
    source: str  # where its files are: folder, cache or demo; hub where there are none
    size_bytes: int | None
    need_bytes: int | None
    disk_bytes: int  # of all its files on this machine
    partial_bytes: int | None  # of unfinished downloads among them
    cannot_load: ErrorPayload | None
    fits: bool | None
    random_weights: bool
    prepared: bool  # a process keeps all but its weights for the next load
    nodes: list[str]  # of a cluster, those that have its files
    state: State
    snapshot: Snapshot


class DeletedFiles(TypedDict):
    """The files of a model that were deleted."""

    id: str
    source: str  # folder, cache or demo
    freed_bytes: int


class Preview(TypedDict):
    """What a load would bring: ``fetch_*`` count what is not on this machine yet."""

    source: str
    revision: str | None
    files: int
    size_bytes: int  # of the weights
    need_bytes: int | None  # the memory that they take in the dtype of the load, None where it is not known
    fetch_files: int
    fetch_bytes: int


class PreviewResource(Preview):
    """A preview with the memory that is free, whether the model fits into it, and how long a load takes.

    ``last_seconds`` is how long the model's last load took, where it began in like conditions.
    """

    id: str
    free_bytes: int
    fits: bool | None
    forecast: Forecast
    last_seconds: float | None


class WorkersStatus(TypedDict):
    """How far the zygote is: cold, warming or warm, for how long, and the pid of the spare worker."""

    state: str
    seconds: float | None
    spare: int | None


class NodeStatus(TypedDict):
    """A machine of the cluster as it is shown; sizes are bytes."""

    name: str
    address: str
    state: str  # joining, ready, draining, lost or refused
    workers: WorkersStatus
    total: int
    free: int
    models: int  # bytes of models that are ready there
    loading: int  # bytes reserved for loads under way there
    loads: list[str]  # the models that load there
    ready: list[str]  # the models that are in memory there
    gpus: int
    versions: dict[str, str]  # of modelhub, torch and transformers
    error: ErrorPayload | None  # why it is lost or refused


class Confinement(TypedDict):
    """What confines the processes of models: ``mode`` is the setting, the others say what does it, or off."""

    mode: str
    network: str
    files: str
    memory: str
    computing_time: str


class Readiness(TypedDict):
    """Whether loads start at once and the models of MODELHUB_PRELOAD are ready.

    ``degraded`` is what does not work as it should, though loads do; it is empty where all is well.
    """

    ready: bool
    workers: WorkersStatus
    preload: dict[str, State]
    sandbox: Confinement
    degraded: list[ErrorPayload]


class ShownSettings(TypedDict):
    """The settings of the hub that pages name, for web processes, and the devices that a load can choose."""

    models_dir: str
    autoload: bool
    keep_prepared_seconds: float
    max_new_tokens: int
    cluster: str
    devices: list[str]


class HubParts(TypedDict):
    """What web processes show of the hub beside models; ``budget`` has the fields of ``core.budget``'s."""

    budget: dict[str, int]
    readiness: Readiness
    list_version: str
    nodes: list[NodeStatus]
    tokens: list[str]  # names those that the hub asks for without revealing them
    shown: ShownSettings


class Prediction(TypedDict):
    """The outputs of a model; ``outputs`` is JSON whose shape depends on the task."""

    model: str
    task: str
    outputs: Any
    seconds: float
