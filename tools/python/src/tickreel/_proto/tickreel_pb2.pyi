from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_BOOK: _ClassVar[Kind]
    KIND_TRADES: _ClassVar[Kind]
    KIND_QUOTES: _ClassVar[Kind]
    KIND_TICKER: _ClassVar[Kind]
    KIND_LIQUIDATIONS: _ClassVar[Kind]
    KIND_ORDERS: _ClassVar[Kind]
    KIND_STATUS: _ClassVar[Kind]
    KIND_RAW: _ClassVar[Kind]

class DecimalForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECIMAL_FORM_UNSPECIFIED: _ClassVar[DecimalForm]
    DECIMAL_FORM_DECIMAL128: _ClassVar[DecimalForm]
    DECIMAL_FORM_FLOAT64: _ClassVar[DecimalForm]

class ReplayOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLAY_ORDER_UNSPECIFIED: _ClassVar[ReplayOrder]
    REPLAY_ORDER_RECV: _ClassVar[ReplayOrder]
    REPLAY_ORDER_EVENT: _ClassVar[ReplayOrder]

class RowForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROW_FORM_UNSPECIFIED: _ClassVar[RowForm]
    ROW_FORM_ARROW: _ClassVar[RowForm]
    ROW_FORM_COLUMNS: _ClassVar[RowForm]

class BookState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BOOK_STATE_UNSPECIFIED: _ClassVar[BookState]
    BOOK_STATE_LIVE: _ClassVar[BookState]
    BOOK_STATE_STALE: _ClassVar[BookState]
    BOOK_STATE_EMPTY: _ClassVar[BookState]
KIND_UNSPECIFIED: Kind
KIND_BOOK: Kind
KIND_TRADES: Kind
KIND_QUOTES: Kind
KIND_TICKER: Kind
KIND_LIQUIDATIONS: Kind
KIND_ORDERS: Kind
KIND_STATUS: Kind
KIND_RAW: Kind
DECIMAL_FORM_UNSPECIFIED: DecimalForm
DECIMAL_FORM_DECIMAL128: DecimalForm
DECIMAL_FORM_FLOAT64: DecimalForm
REPLAY_ORDER_UNSPECIFIED: ReplayOrder
REPLAY_ORDER_RECV: ReplayOrder
REPLAY_ORDER_EVENT: ReplayOrder
ROW_FORM_UNSPECIFIED: RowForm
ROW_FORM_ARROW: RowForm
ROW_FORM_COLUMNS: RowForm
BOOK_STATE_UNSPECIFIED: BookState
BOOK_STATE_LIVE: BookState
BOOK_STATE_STALE: BookState
BOOK_STATE_EMPTY: BookState

class ListInstrumentsRequest(_message.Message):
    __slots__ = ("exchange", "symbol_contains", "kinds", "page_size", "page_token")
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_CONTAINS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    exchange: str
    symbol_contains: str
    kinds: _containers.RepeatedScalarFieldContainer[Kind]
    page_size: int
    page_token: str
    def __init__(self, exchange: _Optional[str] = ..., symbol_contains: _Optional[str] = ..., kinds: _Optional[_Iterable[_Union[Kind, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListInstrumentsResponse(_message.Message):
    __slots__ = ("instruments", "next_page_token", "generation")
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    instruments: _containers.RepeatedCompositeFieldContainer[InstrumentInfo]
    next_page_token: str
    generation: int
    def __init__(self, instruments: _Optional[_Iterable[_Union[InstrumentInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class InstrumentInfo(_message.Message):
    __slots__ = ("instrument", "streams")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    streams: _containers.RepeatedCompositeFieldContainer[StreamInfo]
    def __init__(self, instrument: _Optional[str] = ..., streams: _Optional[_Iterable[_Union[StreamInfo, _Mapping]]] = ...) -> None: ...

class StreamInfo(_message.Message):
    __slots__ = ("kind", "first_ns", "last_ns", "ts_event_min_ns", "ts_event_max_ns", "rows", "messages", "bytes", "segments", "replay_rows_max", "hash", "live_rows", "lost_rows")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FIRST_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_NS_FIELD_NUMBER: _ClassVar[int]
    TS_EVENT_MIN_NS_FIELD_NUMBER: _ClassVar[int]
    TS_EVENT_MAX_NS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    LIVE_ROWS_FIELD_NUMBER: _ClassVar[int]
    LOST_ROWS_FIELD_NUMBER: _ClassVar[int]
    kind: Kind
    first_ns: int
    last_ns: int
    ts_event_min_ns: int
    ts_event_max_ns: int
    rows: int
    messages: int
    bytes: int
    segments: int
    replay_rows_max: int
    hash: int
    live_rows: int
    lost_rows: int
    def __init__(self, kind: _Optional[_Union[Kind, str]] = ..., first_ns: _Optional[int] = ..., last_ns: _Optional[int] = ..., ts_event_min_ns: _Optional[int] = ..., ts_event_max_ns: _Optional[int] = ..., rows: _Optional[int] = ..., messages: _Optional[int] = ..., bytes: _Optional[int] = ..., segments: _Optional[int] = ..., replay_rows_max: _Optional[int] = ..., hash: _Optional[int] = ..., live_rows: _Optional[int] = ..., lost_rows: _Optional[int] = ...) -> None: ...

class GetCoverageRequest(_message.Message):
    __slots__ = ("instrument", "kinds", "from_ns", "to_ns", "gaps_skip")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    FROM_NS_FIELD_NUMBER: _ClassVar[int]
    TO_NS_FIELD_NUMBER: _ClassVar[int]
    GAPS_SKIP_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    kinds: _containers.RepeatedScalarFieldContainer[Kind]
    from_ns: int
    to_ns: int
    gaps_skip: int
    def __init__(self, instrument: _Optional[str] = ..., kinds: _Optional[_Iterable[_Union[Kind, str]]] = ..., from_ns: _Optional[int] = ..., to_ns: _Optional[int] = ..., gaps_skip: _Optional[int] = ...) -> None: ...

class GetCoverageResponse(_message.Message):
    __slots__ = ("streams",)
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[StreamCoverage]
    def __init__(self, streams: _Optional[_Iterable[_Union[StreamCoverage, _Mapping]]] = ...) -> None: ...

class StreamCoverage(_message.Message):
    __slots__ = ("kind", "spans", "gaps", "gaps_total")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    GAPS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    kind: Kind
    spans: _containers.RepeatedCompositeFieldContainer[Span]
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    gaps_total: int
    def __init__(self, kind: _Optional[_Union[Kind, str]] = ..., spans: _Optional[_Iterable[_Union[Span, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ..., gaps_total: _Optional[int] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("first_ns", "last_ns", "rows", "messages")
    FIRST_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_NS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    first_ns: int
    last_ns: int
    rows: int
    messages: int
    def __init__(self, first_ns: _Optional[int] = ..., last_ns: _Optional[int] = ..., rows: _Optional[int] = ..., messages: _Optional[int] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("since_ns", "until_ns", "missing")
    SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_NS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    since_ns: int
    until_ns: int
    missing: int
    def __init__(self, since_ns: _Optional[int] = ..., until_ns: _Optional[int] = ..., missing: _Optional[int] = ...) -> None: ...

class GetBookRequest(_message.Message):
    __slots__ = ("instrument", "at_ns", "depth")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    at_ns: int
    depth: int
    def __init__(self, instrument: _Optional[str] = ..., at_ns: _Optional[int] = ..., depth: _Optional[int] = ...) -> None: ...

class SampleBooksRequest(_message.Message):
    __slots__ = ("instrument", "from_ns", "to_ns", "every_ns", "depth")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    FROM_NS_FIELD_NUMBER: _ClassVar[int]
    TO_NS_FIELD_NUMBER: _ClassVar[int]
    EVERY_NS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    from_ns: int
    to_ns: int
    every_ns: int
    depth: int
    def __init__(self, instrument: _Optional[str] = ..., from_ns: _Optional[int] = ..., to_ns: _Optional[int] = ..., every_ns: _Optional[int] = ..., depth: _Optional[int] = ...) -> None: ...

class SampleBooksResponse(_message.Message):
    __slots__ = ("books",)
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    books: _containers.RepeatedCompositeFieldContainer[Book]
    def __init__(self, books: _Optional[_Iterable[_Union[Book, _Mapping]]] = ...) -> None: ...

class Book(_message.Message):
    __slots__ = ("instrument", "at_ns", "state", "stale_since_ns", "missing", "ts_event_ns", "ts_recv_ns", "venue_seq", "price_scale", "qty_scale", "price_digits", "qty_digits", "bid_prices", "bid_qtys", "ask_prices", "ask_qtys", "bid_levels", "ask_levels")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STALE_SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    TS_EVENT_NS_FIELD_NUMBER: _ClassVar[int]
    TS_RECV_NS_FIELD_NUMBER: _ClassVar[int]
    VENUE_SEQ_FIELD_NUMBER: _ClassVar[int]
    PRICE_SCALE_FIELD_NUMBER: _ClassVar[int]
    QTY_SCALE_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGITS_FIELD_NUMBER: _ClassVar[int]
    QTY_DIGITS_FIELD_NUMBER: _ClassVar[int]
    BID_PRICES_FIELD_NUMBER: _ClassVar[int]
    BID_QTYS_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICES_FIELD_NUMBER: _ClassVar[int]
    ASK_QTYS_FIELD_NUMBER: _ClassVar[int]
    BID_LEVELS_FIELD_NUMBER: _ClassVar[int]
    ASK_LEVELS_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    at_ns: int
    state: BookState
    stale_since_ns: int
    missing: int
    ts_event_ns: int
    ts_recv_ns: int
    venue_seq: int
    price_scale: int
    qty_scale: int
    price_digits: int
    qty_digits: int
    bid_prices: _containers.RepeatedScalarFieldContainer[int]
    bid_qtys: _containers.RepeatedScalarFieldContainer[int]
    ask_prices: _containers.RepeatedScalarFieldContainer[int]
    ask_qtys: _containers.RepeatedScalarFieldContainer[int]
    bid_levels: int
    ask_levels: int
    def __init__(self, instrument: _Optional[str] = ..., at_ns: _Optional[int] = ..., state: _Optional[_Union[BookState, str]] = ..., stale_since_ns: _Optional[int] = ..., missing: _Optional[int] = ..., ts_event_ns: _Optional[int] = ..., ts_recv_ns: _Optional[int] = ..., venue_seq: _Optional[int] = ..., price_scale: _Optional[int] = ..., qty_scale: _Optional[int] = ..., price_digits: _Optional[int] = ..., qty_digits: _Optional[int] = ..., bid_prices: _Optional[_Iterable[int]] = ..., bid_qtys: _Optional[_Iterable[int]] = ..., ask_prices: _Optional[_Iterable[int]] = ..., ask_qtys: _Optional[_Iterable[int]] = ..., bid_levels: _Optional[int] = ..., ask_levels: _Optional[int] = ...) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("instrument", "kind", "from_ns", "to_ns", "columns", "decimals", "hash", "where")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FROM_NS_FIELD_NUMBER: _ClassVar[int]
    TO_NS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    DECIMALS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    kind: Kind
    from_ns: int
    to_ns: int
    columns: _containers.RepeatedScalarFieldContainer[str]
    decimals: DecimalForm
    hash: bool
    where: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, instrument: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., from_ns: _Optional[int] = ..., to_ns: _Optional[int] = ..., columns: _Optional[_Iterable[str]] = ..., decimals: _Optional[_Union[DecimalForm, str]] = ..., hash: bool = ..., where: _Optional[_Iterable[str]] = ...) -> None: ...

class ScanResponse(_message.Message):
    __slots__ = ("arrow", "end")
    ARROW_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    arrow: ArrowPart
    end: ScanEnd
    def __init__(self, arrow: _Optional[_Union[ArrowPart, _Mapping]] = ..., end: _Optional[_Union[ScanEnd, _Mapping]] = ...) -> None: ...

class ArrowPart(_message.Message):
    __slots__ = ("data", "more")
    DATA_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    more: bool
    def __init__(self, data: _Optional[bytes] = ..., more: bool = ...) -> None: ...

class ScanEnd(_message.Message):
    __slots__ = ("rows", "batches", "hash")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    rows: int
    batches: int
    hash: int
    def __init__(self, rows: _Optional[int] = ..., batches: _Optional[int] = ..., hash: _Optional[int] = ...) -> None: ...

class ReplayRequest(_message.Message):
    __slots__ = ("open", "pause", "resume", "seek", "step", "set_speed", "close", "join", "set_stops")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    SEEK_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SET_SPEED_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    JOIN_FIELD_NUMBER: _ClassVar[int]
    SET_STOPS_FIELD_NUMBER: _ClassVar[int]
    open: ReplayOpen
    pause: ReplayPause
    resume: ReplayResume
    seek: ReplaySeek
    step: ReplayStep
    set_speed: ReplaySetSpeed
    close: ReplayClose
    join: ReplayJoin
    set_stops: ReplaySetStops
    def __init__(self, open: _Optional[_Union[ReplayOpen, _Mapping]] = ..., pause: _Optional[_Union[ReplayPause, _Mapping]] = ..., resume: _Optional[_Union[ReplayResume, _Mapping]] = ..., seek: _Optional[_Union[ReplaySeek, _Mapping]] = ..., step: _Optional[_Union[ReplayStep, _Mapping]] = ..., set_speed: _Optional[_Union[ReplaySetSpeed, _Mapping]] = ..., close: _Optional[_Union[ReplayClose, _Mapping]] = ..., join: _Optional[_Union[ReplayJoin, _Mapping]] = ..., set_stops: _Optional[_Union[ReplaySetStops, _Mapping]] = ...) -> None: ...

class ReplayOpen(_message.Message):
    __slots__ = ("streams", "from_ns", "to_ns", "speed", "idle_ns_max", "opening_depth", "paused", "hash", "decimals", "frame_rows_max", "form", "resume_cursor", "loop", "stops", "books", "metrics", "follow", "session", "order")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    FROM_NS_FIELD_NUMBER: _ClassVar[int]
    TO_NS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    IDLE_NS_MAX_FIELD_NUMBER: _ClassVar[int]
    OPENING_DEPTH_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    DECIMALS_FIELD_NUMBER: _ClassVar[int]
    FRAME_ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    RESUME_CURSOR_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    STOPS_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[ReplayStream]
    from_ns: int
    to_ns: int
    speed: float
    idle_ns_max: int
    opening_depth: int
    paused: bool
    hash: bool
    decimals: DecimalForm
    frame_rows_max: int
    form: RowForm
    resume_cursor: bytes
    loop: bool
    stops: ReplayStops
    books: ReplayBooks
    metrics: ReplayMetrics
    follow: bool
    session: str
    order: ReplayOrder
    def __init__(self, streams: _Optional[_Iterable[_Union[ReplayStream, _Mapping]]] = ..., from_ns: _Optional[int] = ..., to_ns: _Optional[int] = ..., speed: _Optional[float] = ..., idle_ns_max: _Optional[int] = ..., opening_depth: _Optional[int] = ..., paused: bool = ..., hash: bool = ..., decimals: _Optional[_Union[DecimalForm, str]] = ..., frame_rows_max: _Optional[int] = ..., form: _Optional[_Union[RowForm, str]] = ..., resume_cursor: _Optional[bytes] = ..., loop: bool = ..., stops: _Optional[_Union[ReplayStops, _Mapping]] = ..., books: _Optional[_Union[ReplayBooks, _Mapping]] = ..., metrics: _Optional[_Union[ReplayMetrics, _Mapping]] = ..., follow: bool = ..., session: _Optional[str] = ..., order: _Optional[_Union[ReplayOrder, str]] = ...) -> None: ...

class ReplayJoin(_message.Message):
    __slots__ = ("session", "opening_depth", "hash", "decimals", "frame_rows_max", "form", "resume_cursor")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    OPENING_DEPTH_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    DECIMALS_FIELD_NUMBER: _ClassVar[int]
    FRAME_ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    RESUME_CURSOR_FIELD_NUMBER: _ClassVar[int]
    session: str
    opening_depth: int
    hash: bool
    decimals: DecimalForm
    frame_rows_max: int
    form: RowForm
    resume_cursor: bytes
    def __init__(self, session: _Optional[str] = ..., opening_depth: _Optional[int] = ..., hash: bool = ..., decimals: _Optional[_Union[DecimalForm, str]] = ..., frame_rows_max: _Optional[int] = ..., form: _Optional[_Union[RowForm, str]] = ..., resume_cursor: _Optional[bytes] = ...) -> None: ...

class ReplayStops(_message.Message):
    __slots__ = ("at_ns", "rows", "gap", "spread_bps", "trade_qty", "end")
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    SPREAD_BPS_FIELD_NUMBER: _ClassVar[int]
    TRADE_QTY_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    at_ns: int
    rows: int
    gap: bool
    spread_bps: float
    trade_qty: str
    end: bool
    def __init__(self, at_ns: _Optional[int] = ..., rows: _Optional[int] = ..., gap: bool = ..., spread_bps: _Optional[float] = ..., trade_qty: _Optional[str] = ..., end: bool = ...) -> None: ...

class ReplaySetStops(_message.Message):
    __slots__ = ("stops",)
    STOPS_FIELD_NUMBER: _ClassVar[int]
    stops: ReplayStops
    def __init__(self, stops: _Optional[_Union[ReplayStops, _Mapping]] = ...) -> None: ...

class ReplayBooks(_message.Message):
    __slots__ = ("depth", "every_ns")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    EVERY_NS_FIELD_NUMBER: _ClassVar[int]
    depth: int
    every_ns: int
    def __init__(self, depth: _Optional[int] = ..., every_ns: _Optional[int] = ...) -> None: ...

class ReplayMetrics(_message.Message):
    __slots__ = ("levels", "every_ns")
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    EVERY_NS_FIELD_NUMBER: _ClassVar[int]
    levels: _containers.RepeatedScalarFieldContainer[int]
    every_ns: int
    def __init__(self, levels: _Optional[_Iterable[int]] = ..., every_ns: _Optional[int] = ...) -> None: ...

class ReplayStream(_message.Message):
    __slots__ = ("instrument", "kinds")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    kinds: _containers.RepeatedScalarFieldContainer[Kind]
    def __init__(self, instrument: _Optional[str] = ..., kinds: _Optional[_Iterable[_Union[Kind, str]]] = ...) -> None: ...

class ReplayPause(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReplayResume(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReplaySeek(_message.Message):
    __slots__ = ("to_ns",)
    TO_NS_FIELD_NUMBER: _ClassVar[int]
    to_ns: int
    def __init__(self, to_ns: _Optional[int] = ...) -> None: ...

class ReplayStep(_message.Message):
    __slots__ = ("messages", "rows", "duration_ns")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    messages: int
    rows: int
    duration_ns: int
    def __init__(self, messages: _Optional[int] = ..., rows: _Optional[int] = ..., duration_ns: _Optional[int] = ...) -> None: ...

class ReplaySetSpeed(_message.Message):
    __slots__ = ("speed",)
    SPEED_FIELD_NUMBER: _ClassVar[int]
    speed: float
    def __init__(self, speed: _Optional[float] = ...) -> None: ...

class ReplayClose(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReplayResponse(_message.Message):
    __slots__ = ("opened", "opening_book", "frame", "gap", "progress", "state", "error", "end")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    OPENING_BOOK_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    opened: ReplayOpened
    opening_book: Book
    frame: ReplayFrame
    gap: ReplayGap
    progress: ReplayProgress
    state: ReplayState
    error: ReplayError
    end: ReplayEnd
    def __init__(self, opened: _Optional[_Union[ReplayOpened, _Mapping]] = ..., opening_book: _Optional[_Union[Book, _Mapping]] = ..., frame: _Optional[_Union[ReplayFrame, _Mapping]] = ..., gap: _Optional[_Union[ReplayGap, _Mapping]] = ..., progress: _Optional[_Union[ReplayProgress, _Mapping]] = ..., state: _Optional[_Union[ReplayState, _Mapping]] = ..., error: _Optional[_Union[ReplayError, _Mapping]] = ..., end: _Optional[_Union[ReplayEnd, _Mapping]] = ...) -> None: ...

class ReplayOpened(_message.Message):
    __slots__ = ("streams", "generation", "rows_at_most", "first_ns", "last_ns", "session", "order", "books", "cursor", "epoch")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROWS_AT_MOST_FIELD_NUMBER: _ClassVar[int]
    FIRST_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_NS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[OpenedStream]
    generation: int
    rows_at_most: int
    first_ns: int
    last_ns: int
    session: str
    order: ReplayOrder
    books: bool
    cursor: bytes
    epoch: int
    def __init__(self, streams: _Optional[_Iterable[_Union[OpenedStream, _Mapping]]] = ..., generation: _Optional[int] = ..., rows_at_most: _Optional[int] = ..., first_ns: _Optional[int] = ..., last_ns: _Optional[int] = ..., session: _Optional[str] = ..., order: _Optional[_Union[ReplayOrder, str]] = ..., books: bool = ..., cursor: _Optional[bytes] = ..., epoch: _Optional[int] = ...) -> None: ...

class OpenedStream(_message.Message):
    __slots__ = ("instrument", "kind", "arrow_schema")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ARROW_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    kind: Kind
    arrow_schema: bytes
    def __init__(self, instrument: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., arrow_schema: _Optional[bytes] = ...) -> None: ...

class ReplayFrame(_message.Message):
    __slots__ = ("chunks", "run_streams", "run_messages", "first_ns", "last_ns", "rows", "more", "cursor")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    RUN_STREAMS_FIELD_NUMBER: _ClassVar[int]
    RUN_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    FIRST_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_NS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[ReplayChunk]
    run_streams: _containers.RepeatedScalarFieldContainer[int]
    run_messages: _containers.RepeatedScalarFieldContainer[int]
    first_ns: int
    last_ns: int
    rows: int
    more: bool
    cursor: bytes
    def __init__(self, chunks: _Optional[_Iterable[_Union[ReplayChunk, _Mapping]]] = ..., run_streams: _Optional[_Iterable[int]] = ..., run_messages: _Optional[_Iterable[int]] = ..., first_ns: _Optional[int] = ..., last_ns: _Optional[int] = ..., rows: _Optional[int] = ..., more: bool = ..., cursor: _Optional[bytes] = ...) -> None: ...

class ReplayChunk(_message.Message):
    __slots__ = ("stream", "messages", "rows", "data")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    stream: int
    messages: int
    rows: int
    data: bytes
    def __init__(self, stream: _Optional[int] = ..., messages: _Optional[int] = ..., rows: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class ReplayGap(_message.Message):
    __slots__ = ("stream", "ts_recv_ns", "missing")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TS_RECV_NS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    stream: int
    ts_recv_ns: int
    missing: int
    def __init__(self, stream: _Optional[int] = ..., ts_recv_ns: _Optional[int] = ..., missing: _Optional[int] = ...) -> None: ...

class ReplayProgress(_message.Message):
    __slots__ = ("position_ns", "rows", "percent", "eta_ns", "speed", "rows_at_most", "rows_per_s", "live", "laps", "cursor")
    POSITION_NS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    ETA_NS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    ROWS_AT_MOST_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_S_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    LAPS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    position_ns: int
    rows: int
    percent: float
    eta_ns: int
    speed: float
    rows_at_most: int
    rows_per_s: float
    live: bool
    laps: int
    cursor: bytes
    def __init__(self, position_ns: _Optional[int] = ..., rows: _Optional[int] = ..., percent: _Optional[float] = ..., eta_ns: _Optional[int] = ..., speed: _Optional[float] = ..., rows_at_most: _Optional[int] = ..., rows_per_s: _Optional[float] = ..., live: bool = ..., laps: _Optional[int] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class ReplayState(_message.Message):
    __slots__ = ("state", "position_ns", "speed", "commands", "rows", "stop", "by_other", "members", "live", "cursor", "epoch")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[ReplayState.State]
        STATE_PLAYING: _ClassVar[ReplayState.State]
        STATE_PAUSED: _ClassVar[ReplayState.State]
        STATE_ENDED: _ClassVar[ReplayState.State]
    STATE_UNSPECIFIED: ReplayState.State
    STATE_PLAYING: ReplayState.State
    STATE_PAUSED: ReplayState.State
    STATE_ENDED: ReplayState.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    POSITION_NS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    BY_OTHER_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    state: ReplayState.State
    position_ns: int
    speed: float
    commands: int
    rows: int
    stop: ReplayStop
    by_other: bool
    members: int
    live: bool
    cursor: bytes
    epoch: int
    def __init__(self, state: _Optional[_Union[ReplayState.State, str]] = ..., position_ns: _Optional[int] = ..., speed: _Optional[float] = ..., commands: _Optional[int] = ..., rows: _Optional[int] = ..., stop: _Optional[_Union[ReplayStop, _Mapping]] = ..., by_other: bool = ..., members: _Optional[int] = ..., live: bool = ..., cursor: _Optional[bytes] = ..., epoch: _Optional[int] = ...) -> None: ...

class ReplayStop(_message.Message):
    __slots__ = ("condition", "time_ns", "stream")
    class Condition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CONDITION_UNSPECIFIED: _ClassVar[ReplayStop.Condition]
        CONDITION_TIME: _ClassVar[ReplayStop.Condition]
        CONDITION_ROWS: _ClassVar[ReplayStop.Condition]
        CONDITION_GAP: _ClassVar[ReplayStop.Condition]
        CONDITION_SPREAD: _ClassVar[ReplayStop.Condition]
        CONDITION_TRADE: _ClassVar[ReplayStop.Condition]
    CONDITION_UNSPECIFIED: ReplayStop.Condition
    CONDITION_TIME: ReplayStop.Condition
    CONDITION_ROWS: ReplayStop.Condition
    CONDITION_GAP: ReplayStop.Condition
    CONDITION_SPREAD: ReplayStop.Condition
    CONDITION_TRADE: ReplayStop.Condition
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    condition: ReplayStop.Condition
    time_ns: int
    stream: int
    def __init__(self, condition: _Optional[_Union[ReplayStop.Condition, str]] = ..., time_ns: _Optional[int] = ..., stream: _Optional[int] = ...) -> None: ...

class ReplayError(_message.Message):
    __slots__ = ("code", "kind", "text", "commands")
    CODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    code: int
    kind: str
    text: str
    commands: int
    def __init__(self, code: _Optional[int] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ..., commands: _Optional[int] = ...) -> None: ...

class ReplayEnd(_message.Message):
    __slots__ = ("reason", "rows", "hash", "streams", "cursor")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[ReplayEnd.Reason]
        REASON_LAST_ROW: _ClassVar[ReplayEnd.Reason]
        REASON_CLOSED: _ClassVar[ReplayEnd.Reason]
        REASON_LOOPED: _ClassVar[ReplayEnd.Reason]
        REASON_STOPPED: _ClassVar[ReplayEnd.Reason]
    REASON_UNSPECIFIED: ReplayEnd.Reason
    REASON_LAST_ROW: ReplayEnd.Reason
    REASON_CLOSED: ReplayEnd.Reason
    REASON_LOOPED: ReplayEnd.Reason
    REASON_STOPPED: ReplayEnd.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    reason: ReplayEnd.Reason
    rows: int
    hash: int
    streams: _containers.RepeatedCompositeFieldContainer[StreamTotal]
    cursor: bytes
    def __init__(self, reason: _Optional[_Union[ReplayEnd.Reason, str]] = ..., rows: _Optional[int] = ..., hash: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[StreamTotal, _Mapping]]] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class StreamTotal(_message.Message):
    __slots__ = ("rows", "hash")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    rows: int
    hash: int
    def __init__(self, rows: _Optional[int] = ..., hash: _Optional[int] = ...) -> None: ...

class AppendRequest(_message.Message):
    __slots__ = ("id", "instrument", "kind", "arrow", "columns")
    ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ARROW_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    id: int
    instrument: str
    kind: Kind
    arrow: bytes
    columns: bytes
    def __init__(self, id: _Optional[int] = ..., instrument: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., arrow: _Optional[bytes] = ..., columns: _Optional[bytes] = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("accepted", "refused", "durable")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    accepted: AppendAccepted
    refused: AppendRefused
    durable: AppendDurable
    def __init__(self, accepted: _Optional[_Union[AppendAccepted, _Mapping]] = ..., refused: _Optional[_Union[AppendRefused, _Mapping]] = ..., durable: _Optional[_Union[AppendDurable, _Mapping]] = ...) -> None: ...

class AppendAccepted(_message.Message):
    __slots__ = ("id", "seq", "rows")
    ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    id: int
    seq: int
    rows: int
    def __init__(self, id: _Optional[int] = ..., seq: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class AppendRefused(_message.Message):
    __slots__ = ("id", "code", "kind", "text")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    id: int
    code: int
    kind: str
    text: str
    def __init__(self, id: _Optional[int] = ..., code: _Optional[int] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class AppendDurable(_message.Message):
    __slots__ = ("id", "seq")
    ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    id: int
    seq: int
    def __init__(self, id: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatsResponse(_message.Message):
    __slots__ = ("version", "uptime_ms", "generation", "instruments", "streams", "segments", "rows", "bytes", "requests", "failures", "streams_open", "rows_sent", "bytes_sent", "sessions")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    STREAMS_OPEN_FIELD_NUMBER: _ClassVar[int]
    ROWS_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    uptime_ms: int
    generation: int
    instruments: int
    streams: int
    segments: int
    rows: int
    bytes: int
    requests: int
    failures: int
    streams_open: int
    rows_sent: int
    bytes_sent: int
    sessions: _containers.RepeatedCompositeFieldContainer[ReplaySession]
    def __init__(self, version: _Optional[str] = ..., uptime_ms: _Optional[int] = ..., generation: _Optional[int] = ..., instruments: _Optional[int] = ..., streams: _Optional[int] = ..., segments: _Optional[int] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., requests: _Optional[int] = ..., failures: _Optional[int] = ..., streams_open: _Optional[int] = ..., rows_sent: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., sessions: _Optional[_Iterable[_Union[ReplaySession, _Mapping]]] = ...) -> None: ...

class ReplaySession(_message.Message):
    __slots__ = ("name", "members", "state", "position_ns", "speed", "commands", "instruments")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POSITION_NS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    members: int
    state: ReplayState.State
    position_ns: int
    speed: float
    commands: int
    instruments: int
    def __init__(self, name: _Optional[str] = ..., members: _Optional[int] = ..., state: _Optional[_Union[ReplayState.State, str]] = ..., position_ns: _Optional[int] = ..., speed: _Optional[float] = ..., commands: _Optional[int] = ..., instruments: _Optional[int] = ...) -> None: ...
