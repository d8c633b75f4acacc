"""One instrument at its venue: the recorded book, and our orders in it.

Our orders change nothing for others: the recorded market goes on as it did. What we take from a
level is gone for us, though, until the venue writes that level anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from ..columns import Chunk
from ..model import Book, BookState, decimal_of
from ..orderbook import OrderBook, Side
from ..schema import ASK, BID, BUY, RESET, SELL, SET
from .models import QueueModel
from .orders import Order, OrderSide, OrderState, scale_of


@dataclass(slots=True)
class Resting:
    """An order in the book, in the units of the book."""

    order: Order
    price: int
    left: int
    ahead: int
    """What is displayed at its price and stands before it."""
    printed: int = 0
    """Prints at its price since the displayed quantity changed."""


@dataclass(frozen=True, slots=True)
class Match:
    """A part of an order that met somebody; `fills` if it was the last part."""

    order: Order
    price: Decimal
    qty: Decimal
    maker: bool
    fills: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order when it arrived."""

    state: OrderState
    reason: str = ""
    matches: tuple[Match, ...] = ()


class Venue:
    """The book of an instrument, with our orders."""

    def __init__(self, instrument: str, queue: QueueModel) -> None:
        self.book = OrderBook(instrument)
        self.resting: list[Resting] = []
        self._queue = queue
        self._scales = (0, 0)
        self._taken: dict[tuple[int, int], int] = {}

    def load(self, book: Book) -> None:
        """Goes on from one of the server's books, in no coarser units than before."""
        self.book.load(book)
        self.book.widen(*self._scales)
        self._follow_scales()

    def on_book(self, chunk: Chunk, index: int) -> list[Match]:
        """Applies a message of the book: queues move, and orders that are crossed are filled."""
        if not self.resting and not self._taken:
            self.book.apply_messages(chunk, index, index + 1)
            self._follow_scales()
            return []
        self._widen(chunk.scale("price"), chunk.scale("qty"))
        before = [self._displayed(resting) for resting in self.resting]
        self.book.apply_messages(chunk, index, index + 1)
        self._forget_taken(chunk, index)
        for resting, displayed in zip(self.resting, before, strict=True):
            self._move_queue(resting, displayed, self._displayed(resting))
        return list(self._fill_crossed())

    def on_trade(self, side: int, price: Decimal, qty: Decimal) -> list[Match]:
        """A print: `side` is the aggressor's code. Better orders meet it first, then those at its
        price whose turn it is; all of them together never more than was printed.
        """
        if not self.resting:
            return []
        self._widen(scale_of(price), scale_of(qty))
        matches: list[Match] = []
        for order_side, hit_by in ((OrderSide.BUY, BUY), (OrderSide.SELL, SELL)):
            # Who buys takes from sellers; of a print of unknown side either may be true.
            if side != hit_by:
                matches.extend(self._fill_printed(order_side, self._price(price), self._qty(qty)))
        return matches

    def accept(self, order: Order) -> Outcome:
        """An order arrives: it takes what its price allows, and rests with what is left."""
        if self.book.state is not BookState.LIVE:
            return Outcome(OrderState.REJECTED, f"the book is {self.book.state}")
        self._widen(scale_of(order.price or Decimal(0)), scale_of(order.qty))
        limit = None if order.price is None else self._price(order.price)
        side = BID if order.side is OrderSide.BUY else ASK
        if order.post_only and limit is not None and self._crosses(side, limit):
            return Outcome(OrderState.REJECTED, "it would take")
        left = self._qty(order.qty)
        matches = tuple(self._take(order, side, limit, left))
        left -= sum(self._qty(match.qty) for match in matches)
        if left == 0:
            return Outcome(OrderState.FILLED, "", matches)
        if limit is None:
            return Outcome(OrderState.CANCELLED, "the book was not deep enough", matches)
        resting = Resting(order, limit, left, 0)
        resting.ahead = max(0, self._displayed(resting))
        self.resting.append(resting)
        return Outcome(OrderState.OPEN, "", matches)

    def cancel(self, order: Order) -> bool:
        """Takes an order out of the book; False if it is not there any more."""
        for at, resting in enumerate(self.resting):
            if resting.order is order:
                del self.resting[at]
                return True
        return False

    def _side(self, code: int) -> Side:
        return self.book.bids if code == BID else self.book.asks

    def _displayed(self, resting: Resting) -> int:
        own = BID if resting.order.side is OrderSide.BUY else ASK
        return self._side(own).levels.get(resting.price, 0)

    def _crosses(self, side: int, limit: int) -> bool:
        best = self._side(ASK if side == BID else BID).best()
        return best is not None and (best <= limit if side == BID else best >= limit)

    def _take(self, order: Order, side: int, limit: int | None, left: int) -> Iterator[Match]:
        """Walks the other side of the book, best level first."""
        for price, qty in self._available(side, limit):
            part = min(left, qty)
            left -= part
            self._note_taken(side, price, part)
            yield self._match(order, price, part, maker=False, fills=not left)
            if not left:
                return

    def _available(self, side: int, limit: int | None) -> Iterator[tuple[int, int]]:
        """Levels of the other side up to a limit, less what we took of them already."""
        other = ASK if side == BID else BID
        levels = self._side(other)
        best = levels.best()
        if best is None or (limit is not None and not self._crosses(side, limit)):
            return
        for price, displayed in levels.top():
            if limit is not None and (price > limit if side == BID else price < limit):
                return
            qty = displayed - self._taken.get((other, price), 0)
            if qty > 0:
                yield price, qty

    def _note_taken(self, side: int, price: int, qty: int) -> None:
        key = (ASK if side == BID else BID, price)
        self._taken[key] = self._taken.get(key, 0) + qty

    def _forget_taken(self, chunk: Chunk, index: int) -> None:
        """Levels that the venue wrote anew hold what it says again."""
        if not self._taken:
            return
        actions, sides, prices = chunk.lists("action", "side", "price")
        factor = 10 ** (self.book.price_scale - chunk.scale("price"))
        ends = chunk.row_ends_list
        for row in range(ends[index - 1] if index else 0, ends[index]):
            if actions[row] == RESET:
                self._taken.clear()
            elif actions[row] == SET:
                self._taken.pop((sides[row], prices[row] * factor), None)

    def _move_queue(self, resting: Resting, before: int, after: int) -> None:
        if before == after:
            return
        cancelled = before - after - resting.printed
        if cancelled > 0:
            resting.ahead -= self._queue.cancelled_ahead(resting.ahead, before, cancelled)
        resting.ahead = max(0, min(resting.ahead, after))
        resting.printed = 0

    def _fill_crossed(self) -> Iterator[Match]:
        """Orders that the other side has come to, at their own price."""
        if self.book.state is not BookState.LIVE:
            return
        for resting in self._by_priority():
            side = BID if resting.order.side is OrderSide.BUY else ASK
            if not self._crosses(side, resting.price):
                continue
            for price, qty in list(self._available(side, resting.price)):
                part = min(resting.left, qty)
                if part:
                    self._note_taken(side, price, part)
                    yield self._fill(resting, part)

    def _fill_printed(self, side: OrderSide, price: int, qty: int) -> Iterator[Match]:
        for resting in self._by_priority():
            if resting.order.side is not side or (price - resting.price) * side.sign > 0:
                continue
            part = qty
            if resting.price == price:
                part = max(0, qty - resting.ahead)
                resting.ahead = max(0, resting.ahead - qty)
                resting.printed += qty
            part = min(part, resting.left)
            if part:
                qty -= part
                yield self._fill(resting, part)

    def _by_priority(self) -> list[Resting]:
        """Better prices first, then who came first."""
        return sorted(self.resting, key=lambda resting: -resting.price * resting.order.side.sign)

    def _fill(self, resting: Resting, part: int) -> Match:
        resting.left -= part
        if not resting.left:
            self.resting.remove(resting)
        return self._match(resting.order, resting.price, part, maker=True, fills=not resting.left)

    def _match(self, order: Order, price: int, qty: int, *, maker: bool, fills: bool) -> Match:
        exact_price = decimal_of(price, self.book.price_scale)
        return Match(order, exact_price, decimal_of(qty, self.book.qty_scale), maker, fills)

    def _price(self, price: Decimal) -> int:
        return int(price.scaleb(self.book.price_scale))

    def _qty(self, qty: Decimal) -> int:
        return int(qty.scaleb(self.book.qty_scale))

    def _widen(self, price_scale: int, qty_scale: int) -> None:
        """Counts in units small enough for these, orders too."""
        self.book.widen(price_scale, qty_scale)
        self._follow_scales()

    def _follow_scales(self) -> None:
        scales = (self.book.price_scale, self.book.qty_scale)
        if scales == self._scales:
            return
        by_price, by_qty = (
            10 ** (now - then) for now, then in zip(scales, self._scales, strict=True)
        )
        self._scales = scales
        for resting in self.resting:
            resting.price *= by_price
            resting.left, resting.ahead = resting.left * by_qty, resting.ahead * by_qty
            resting.printed *= by_qty
        self._taken = {
            (side, price * by_price): qty * by_qty for (side, price), qty in self._taken.items()
        }
