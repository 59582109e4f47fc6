import pytest

from auth.admission import Admission, Admitted, Bucket, InvalidSlot, RateLimited, Replayed
from auth.admission.wire import MalformedReply, Script
from policies.gcra import Limit
from tests.support import optional
from tests.support.admissions import admission

LIMIT = Limit(name="orders", rate=2, per_us=1_000_000, burst=3)
NONCE_ONLY = admission("acme", "key:nonce", ())
TWO_BUCKETS = admission("acme", None, (Bucket("k:1", LIMIT, 1), Bucket("p:acme", LIMIT, 2)))


@pytest.fixture(params=[False, True], ids=["interpreted", "compiled"])
def script(request: pytest.FixtureRequest) -> Script:
    if request.param:
        optional.require("compiled_room")
    return Script(122_000, is_compiled=request.param)


class Pushed(list[int]):
    """What the parser makes of a push: a list, but no answer."""


def bulks(command: bytes) -> list[bytes]:
    """Read a command back, strictly."""
    head, _, rest = command.partition(b"\r\n")
    values = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size.removeprefix(b"$"))
        values.append(rest[:length])
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]
    assert int(head.removeprefix(b"*")) == len(values)
    return values


def test_a_command_says_how_many_keys_it_has(script: Script) -> None:
    """Two admissions in one command: the keys of nonces, the keys of buckets, and what each asks."""
    values = bulks(script.command([NONCE_ONLY, TWO_BUCKETS]))
    assert values[0] == b"EVALSHA"
    assert int(values[2]) == 3
    assert values[3].startswith(b"pr:{acme}:n:")
    assert values[4:6] == [b"pr:{acme}:b:k:1", b"pr:{acme}:b:p:acme"]
    assert values[6:] == [b"122000", b"1", b"1", b"4", b"1500000", b"500000", b"1500000", b"1000000"]


def test_the_names_of_keys_never_change(script: Script) -> None:
    """Nodes of two versions share one store while one replaces the other: what one took, the other must find."""
    asked = admission("acme", "prk_paper_x:" + "ab" * 16, (Bucket("key:prk_paper_x", LIMIT, 1),))
    assert bulks(script.command([asked]))[3:5] == [
        b"pr:{acme}:n:" + bytes.fromhex("742455cbb2832ac0eda32c26eaa5ef90"),
        b"pr:{acme}:b:key:prk_paper_x",
    ]


def test_the_body_is_sent_where_the_digest_is_not_known(script: Script) -> None:
    """Otherwise the same command."""
    by_body = bulks(script.command_with_body([NONCE_ONLY]))
    assert by_body[0] == b"EVAL"
    assert b"redis.call('TIME')" in by_body[1]
    assert by_body[2:] == bulks(script.command([NONCE_ONLY]))[2:]


def test_commands_of_batches_of_equal_size_share_only_their_numbers(script: Script) -> None:
    """What is worked out once for a size says nothing of whose admissions they are."""
    one, other = (admission(slot, "key:n", (Bucket("k:1", LIMIT, 1),)) for slot in ("acme", "beta"))
    script.command([one])
    assert script.command([other]) == Script(122_000).command([other])
    assert script.command([other, TWO_BUCKETS]) == Script(122_000).command([other, TWO_BUCKETS])


def test_nonces_take_the_same_room_however_long_they_are(script: Script) -> None:
    """And two nonces, or one in two slots, never share a key."""
    asked = [
        admission(slot, nonce, ())
        for slot, nonce in [("acme", "k:a"), ("acme", "k:" + "b" * 64), ("beta", "k:a")]
    ]
    keys = [bulks(script.command([each]))[3] for each in asked]
    assert len({len(key) for key in keys}) == 1
    assert len(set(keys)) == 3


@pytest.mark.parametrize("slot", ["", "}", "}acme"])
def test_a_slot_that_makes_no_hash_tag_is_refused(slot: str) -> None:
    """Its keys would be spread over a cluster."""
    with pytest.raises(InvalidSlot):
        admission(slot, "key:nonce", ())


def test_a_reply_is_divided_among_the_admissions_of_the_batch(script: Script) -> None:
    """Each takes what its buckets need; a replay has none."""
    one_bucket = admission("acme", "n", (Bucket("k:1", LIMIT, 1),))
    limited, *others = script.parse_reply(
        [2, 10, 1_400_000, 1, 1, 0, 0, 7], [TWO_BUCKETS, NONCE_ONLY, one_bucket, NONCE_ONLY, one_bucket]
    )
    assert isinstance(limited, RateLimited)
    assert [state.booked_us for state in limited.states] == [10, 1_400_000]
    assert [type(each) for each in others] == [Replayed, Replayed, Admitted, Admitted]
    assert others[2:] == [Admitted(NONCE_ONLY.charges, []), Admitted(one_bucket.charges, [7])]


@pytest.mark.parametrize(
    ("reply", "batch"),
    [
        (0, [NONCE_ONLY]),
        (b"OK", [NONCE_ONLY]),
        (None, [NONCE_ONLY]),
        (ValueError("an error reply"), [NONCE_ONLY]),
        ([], [NONCE_ONLY]),
        ([3], [NONCE_ONLY]),
        ([-1], [NONCE_ONLY]),
        ([None], [NONCE_ONLY]),
        ([b"0"], [NONCE_ONLY]),
        ([False], [NONCE_ONLY]),
        ([0.0], [NONCE_ONLY]),
        ([0, 0], [NONCE_ONLY]),
        ([0], [NONCE_ONLY, NONCE_ONLY]),
        ([0], [TWO_BUCKETS]),
        ([0, 1], [TWO_BUCKETS]),
        ([0, 1, 2, 3], [TWO_BUCKETS]),
        ([2, 1], [TWO_BUCKETS]),
        ([2, 1], [NONCE_ONLY, NONCE_ONLY]),
        ([2], [NONCE_ONLY]),
        ([0, 1, b"2"], [TWO_BUCKETS]),
        ([[0]], [NONCE_ONLY]),
        (Pushed([0]), [NONCE_ONLY]),
    ],
)
def test_a_reply_the_script_can_not_have_given_is_refused(
    script: Script, reply: object, batch: list[Admission]
) -> None:
    """Nothing is taken for an admission that is not one."""
    with pytest.raises(MalformedReply):
        script.parse_reply(reply, batch)
