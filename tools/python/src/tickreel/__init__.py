"""Client of the tickreel market-tick server.

`Client` and `AsyncClient` ask for books, rows and replays, and store rows; `OrderBook` keeps a book
from a replay; `tickreel.backtest` runs strategies over one. Times are nanoseconds, prices exact
integers until they are asked for as doubles or as `Decimal`.
"""

from .aio import AsyncAppender, AsyncClient, AsyncReplay
from .append import Accepted, Appended, Durable, NotAccepted
from .asking import Books, Metrics, Stops
from .client import Appender, Client, Replay
from .columns import Chunk
from .errors import (
    AlreadyExists,
    Cancelled,
    Corrupt,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ProtocolError,
    ResourceExhausted,
    Stale,
    TickreelError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from .events import End, Event, GapNotice, Progress, Reconnected, Refused, State, Stop
from .frames import Frame, Message, OpenedStream, Samples
from .model import (
    Book,
    BookState,
    Coverage,
    Gap,
    ReplaySession,
    ServerStats,
    Span,
    StreamCoverage,
    StreamInfo,
    Streams,
)
from .orderbook import OrderBook
from .retry import Retry
from .rows import BookRow, OrderRow, QuoteRow, RawRow, StatusRow, TickerRow, TradeRow
from .schema import Kind
from .times import Duration, Time, to_datetime, to_datetime64, to_duration_ns, to_ns, to_text

__all__ = [
    "Accepted",
    "AlreadyExists",
    "Appended",
    "Appender",
    "AsyncAppender",
    "AsyncClient",
    "AsyncReplay",
    "Book",
    "BookRow",
    "BookState",
    "Books",
    "Cancelled",
    "Chunk",
    "Client",
    "Corrupt",
    "Coverage",
    "DeadlineExceeded",
    "Durable",
    "Duration",
    "End",
    "Event",
    "Frame",
    "Gap",
    "GapNotice",
    "Internal",
    "InvalidArgument",
    "Kind",
    "Message",
    "Metrics",
    "NotAccepted",
    "NotFound",
    "OpenedStream",
    "OrderBook",
    "OrderRow",
    "OutOfRange",
    "PermissionDenied",
    "Progress",
    "ProtocolError",
    "QuoteRow",
    "RawRow",
    "Reconnected",
    "Refused",
    "Replay",
    "ReplaySession",
    "ResourceExhausted",
    "Retry",
    "Samples",
    "ServerStats",
    "Span",
    "Stale",
    "State",
    "StatusRow",
    "Stop",
    "Stops",
    "StreamCoverage",
    "StreamInfo",
    "Streams",
    "TickerRow",
    "TickreelError",
    "Time",
    "TradeRow",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "to_datetime",
    "to_datetime64",
    "to_duration_ns",
    "to_ns",
    "to_text",
]
