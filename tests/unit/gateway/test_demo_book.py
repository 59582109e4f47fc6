"""The demo's order book: whose orders are whose, and what is no order."""

import pytest

from gateway.demo import book

BUY = book.parse_order(b'{"symbol":"ACME","side":"buy","quantity":"3","price":"40"}')
FILLING = book.parse_order(b'{"symbol":"ACME","side":"buy","quantity":3,"type":"market"}')
SELL = book.parse_order(b'{"symbol":"ACME","side":"sell","quantity":"1.5","type":"market"}')


def test_an_order_below_the_reference_price_rests() -> None:
    """A buy that offers less than the reference stays open and moves no position."""
    orders = book.Book()
    assert orders.create("acme", BUY, 7).state is book.OrderState.OPEN
    assert orders.positions("acme") == []


def test_positions_are_the_sum_of_fills() -> None:
    """Buys add to a position and sells take from it."""
    orders = book.Book()
    orders.create("acme", FILLING, 7)
    orders.create("acme", SELL, 8)
    assert [(held.symbol, str(held.qty)) for held in orders.positions("acme")] == [("ACME", "1.5")]


def test_a_stranger_sees_no_order_of_another_partner() -> None:
    """Another partner's order is answered like one that does not exist."""
    orders = book.Book()
    order = orders.create("acme", BUY, 7)
    assert orders.all_of("borealis") == []
    with pytest.raises(book.UnknownOrder):
        orders.get("borealis", order.id)
    with pytest.raises(book.UnknownOrder):
        orders.cancel("borealis", order.id)


def test_an_open_order_is_cancelled_once() -> None:
    """The second cancellation is refused, and the order stays in the list as cancelled."""
    orders = book.Book()
    order = orders.create("acme", BUY, 7)
    assert orders.cancel("acme", order.id).state is book.OrderState.CANCELLED
    with pytest.raises(book.OrderClosed):
        orders.cancel("acme", order.id)
    assert [one.state for one in orders.all_of("acme")] == [book.OrderState.CANCELLED]


def test_a_filled_order_is_not_cancelled() -> None:
    """What has happened is not undone."""
    orders = book.Book()
    order = orders.create("acme", FILLING, 7)
    with pytest.raises(book.OrderClosed):
        orders.cancel("acme", order.id)


def test_the_oldest_orders_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded per partner however many orders are placed."""
    monkeypatch.setattr(book, "MAX_ORDERS", 2)
    orders = book.Book()
    placed = [orders.create("acme", BUY, 7).id for _ in range(3)]
    assert [order.id for order in orders.all_of("acme")] == placed[1:]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"symbol":"ACME","side":"buy","quantity":"1"}',
        b'{"symbol":"acme","side":"buy","quantity":"1","price":"1"}',
        b'{"symbol":"ACME\\n","side":"buy","quantity":"1","price":"1"}',
        b'{"symbol":"ACME","side":"hold","quantity":"1","price":"1"}',
        b'{"symbol":"ACME","side":"buy","quantity":"0","price":"1"}',
        b'{"symbol":"ACME","side":"buy","quantity":"1","price":"-1"}',
        b'{"symbol":"ACME","side":"buy","quantity":"NaN","price":"1"}',
        b'{"symbol":"ACME","side":"buy","quantity":"Infinity","price":"1"}',
        b'{"symbol":"ACME","side":"buy","quantity":"1e999999","price":"1"}',
        b'{"symbol":"ACME","side":"buy","quantity":"1e-999999","price":"1"}',
        b'{"symbol":"ACME","side":"buy","price":"1"}',
        b'{"symbol":"ACME","side":"buy","qty":"1","price":"1","type":"iceberg"}',
    ],
)
def test_what_is_no_order_is_refused(body: bytes) -> None:
    """Missing, unknown, misspelt or senseless members are all one named refusal."""
    with pytest.raises(book.InvalidOrder):
        book.parse_order(body)


def test_a_market_order_fills_at_the_reference_price() -> None:
    """It has no price of its own."""
    placed = book.parse_order(b'{"symbol":"ACME","side":"sell","type":"market","qty":"1"}')
    order = book.Book().create("acme", placed, 0)
    assert (order.state, order.price) == (book.OrderState.FILLED, book.REFERENCE_PRICES["ACME"])


def test_an_order_says_qty_or_quantity() -> None:
    """People write both."""
    short = book.parse_order(b'{"symbol":"ACME","side":"buy","qty":"1","price":"2","client_order_id":"x"}')
    assert short == book.parse_order(b'{"symbol":"ACME","side":"buy","quantity":"1","price":"2"}')
