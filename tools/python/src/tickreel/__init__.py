"""Client of the tickreel market-tick server.

`Client` and `AsyncClient` ask for books, rows and replays, and store rows; `OrderBook` keeps a book
from a replay; `tickreel.backtest` runs strategies over one. Times are nanoseconds, prices exact
integers until they are asked for as doubles or as `Decimal`.
"""

from .aio import AsyncAppender, AsyncClient, AsyncReplay
from .append import Accepted, Appended, Durable, NotAccepted
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
from .frames import Frame, Message, OpenedStream
from .model import (
    Book,
    BookState,
    Coverage,
    Gap,
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
from .session import End, Event, GapNotice, Progress, Refused, State
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
    "Refused",
    "Replay",
    "ResourceExhausted",
    "Retry",
    "ServerStats",
    "Span",
    "Stale",
    "State",
    "StatusRow",
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
