"""A tiny order book: what a trading upstream needs for the gateway to have something to protect.

Invariant: a partner sees and cancels its own orders only, and its position is the sum of its fills.
A limit order rests until it is cancelled; a market order has no price of its own, and fills at once at the
instrument's reference price. Refused: orders out of shape, and any second cancellation. Members it does not know are
ignored, as a demo may.

All of it lives in memory, bounded per partner, and dies with the process.
"""

import itertools
from collections import OrderedDict
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

MAX_ORDERS: Final = 10_000
DEFAULT_REFERENCE: Final = Decimal(100)
REFERENCE_PRICES: Final = MappingProxyType(
    {"BTC-EUR": Decimal(60_000), "ETH-EUR": Decimal(2_500), "ACME": Decimal(42)}
)

Symbol = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{1,12}(-[A-Z0-9]{1,12})?\Z")]
Side = Literal["buy", "sell"]
_MAX_DIGITS: Final = 18


class InvalidOrder(Exception):
    """What was asked for is no order."""


class UnknownOrder(Exception):
    """There is no such order, or it belongs to someone else: one answer."""


class OrderClosed(Exception):
    """It was filled or cancelled before."""


class OrderState(StrEnum):
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"


class OrderRequest(msgspec.Struct, frozen=True):
    """`quantity` may be written out; `qty` is what it is called everywhere else."""

    symbol: Symbol
    side: Side
    price: Decimal | None = None
    qty: Decimal | None = None
    quantity: Decimal | None = None
    type: Literal["limit", "market"] = "limit"


class Placed(msgspec.Struct, frozen=True):
    """An order in shape: every amount is there and sensible."""

    symbol: str
    side: Side
    type: Literal["limit", "market"]
    qty: Decimal
    price: Decimal


class Order(msgspec.Struct, frozen=True):
    id: str
    symbol: str
    side: Side
    type: Literal["limit", "market"]
    qty: Decimal
    price: Decimal
    state: OrderState
    created_at: int


class Position(msgspec.Struct, frozen=True):
    symbol: str
    qty: Decimal


def parse_order(body: bytes) -> Placed:
    try:
        asked = msgspec.json.decode(body, type=OrderRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidOrder(str(error)) from None
    quantity = asked.quantity if asked.qty is None else asked.qty
    price = _reference(asked.symbol) if asked.type == "market" else asked.price
    return Placed(
        asked.symbol,
        asked.side,
        asked.type,
        _require_sensible("qty", quantity),
        _require_sensible("price", price),
    )


def _require_sensible(name: str, amount: Decimal | None) -> Decimal:
    if amount is None:
        raise InvalidOrder(f"{name} is missing")
    # Bounded digits: decimals allow exponents that would take for ever to add up.
    if not amount.is_finite() or amount <= 0:
        raise InvalidOrder(f"{name} must be greater than zero")
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _MAX_DIGITS or amount.adjusted() > _MAX_DIGITS:
        raise InvalidOrder(f"{name} has too many digits")
    return amount


class Book:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._orders: dict[str, OrderedDict[str, Order]] = {}
        self._positions: dict[str, dict[str, Decimal]] = {}

    def create(self, partner: str, asked: Placed, now_ms: int) -> Order:
        order = Order(
            id=f"ord-{next(self._numbers)}",
            symbol=asked.symbol,
            side=asked.side,
            type=asked.type,
            qty=asked.qty,
            price=asked.price,
            state=OrderState.FILLED if asked.type == "market" else OrderState.OPEN,
            created_at=now_ms,
        )
        own = self._orders.setdefault(partner, OrderedDict())
        own[order.id] = order
        while len(own) > MAX_ORDERS:
            own.popitem(last=False)
        if order.state is OrderState.FILLED:
            self._fill(partner, order)
        return order

    def all_of(self, partner: str) -> list[Order]:
        return list(self._orders.get(partner, {}).values())

    def get(self, partner: str, order_id: str) -> Order:
        try:
            return self._orders[partner][order_id]
        except KeyError:
            raise UnknownOrder("there is no such order") from None

    def cancel(self, partner: str, order_id: str) -> Order:
        order = self.get(partner, order_id)
        if order.state is not OrderState.OPEN:
            raise OrderClosed(f"the order is {order.state} already")
        cancelled = msgspec.structs.replace(order, state=OrderState.CANCELLED)
        self._orders[partner][order_id] = cancelled
        return cancelled

    def positions(self, partner: str) -> list[Position]:
        held = self._positions.get(partner, {})
        return [Position(symbol, qty) for symbol, qty in sorted(held.items())]

    def _fill(self, partner: str, order: Order) -> None:
        held = self._positions.setdefault(partner, {})
        signed = order.qty if order.side == "buy" else -order.qty
        held[order.symbol] = held.get(order.symbol, Decimal(0)) + signed


def _reference(symbol: str) -> Decimal:
    return REFERENCE_PRICES.get(symbol, DEFAULT_REFERENCE)
