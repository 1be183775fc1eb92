"""The bytes of a mail, parsed as a receiver would: one recipient, the same texts, and no other header."""

import pickle
import subprocess
import sys
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import pythons
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.pools.email import BadMail, EmailJob, build_message, checked_address
from helpers.pools.mail_fields import CheckedMail
from helpers.pools.mail_message import OutgoingMail, encode
from helpers.pools.mail_readback import verify

ROOT = Path(__file__).parents[1]
SENDER = "news@example.com"
HEADERS = ["From", "To", "Subject", "Date", "Message-ID"]
HEADERS += ["Content-Type", "Content-Transfer-Encoding", "MIME-Version"]

PARTS = [" ", "  ", ",", '"', "(", ")", "<", ">", "\\", "@", ":", ";", ".", "'", "=", "?", "_", "=?", "?=", "[", "]"]
PARTS += [
    "a",
    "word",
    "x" * 80,
    "Ödegård",
    "漢字",
    "😀",
    "e\u0301",
    "\u202eabc",
    "שלום",
    "مرحبا",
    "\xa0",
    "\u3000",
    "ß",
]
PARTS += ["eve@example.com", "<eve@example.com>", ", eve@example.com", "eve@example.com,", "undisclosed:;", "Bcc: x"]
PARTS += ["utf-8", "?q?", "=0D=0A", "\u200b", "\ufeff", "👩‍👩‍👧‍👦"]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=1000),
    st.lists(st.sampled_from(PARTS), max_size=200).map(lambda parts: "".join(parts)[:1000]),
    st.builds(lambda part, times: (part * times)[:1000], st.sampled_from(PARTS), st.integers(1, 1000)),
)
ENDS = ["\r", "\n", "\r\n", ".", "\t", " ", "=", "ü", "a" * 1000, "\x85", "\u2028", "\x0c", "From "]
BODIES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=1000),
    st.lists(st.sampled_from(ENDS)).map("".join),
)
ADDRESSES = st.sampled_from(
    ["ann@example.com", "o'neil+x=1!#$%&*/?^_`{|}~@a.b", "john..doe@example.jp", "a.@example.com"]
)
UTF8_ADDRESSES = st.sampled_from(["jürgen@exämple.com", "ann@उदाहरण.परीक्षा", "ผู้ใช้@ตัวอย่าง.ไทย", "用户@例子.广告"])


def without_space(text: str) -> str:
    return "".join(text.split())


def lines_of(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def check(content: bytes, job: EmailJob) -> None:
    message = message_from_bytes(content, policy=policy.default)
    [group] = message["To"].groups
    [recipient] = group.addresses
    assert recipient.addr_spec.encode("utf-8", "surrogateescape").decode() == job.address
    assert without_space(recipient.display_name) == without_space(job.name)
    assert message.keys() == HEADERS and not message.defects
    assert message["Subject"] == job.subject and message["From"] == SENDER
    assert lines_of(message.get_content()) == lines_of(job.body)
    assert max(map(len, content.split(b"\r\n"))) <= 998 and content.endswith(b"\r\n")
    assert b"\r" not in content.replace(b"\r\n", b"") and b"\n" not in content.replace(b"\r\n", b"")


@settings(max_examples=120, deadline=None)
@given(st.one_of(ADDRESSES, UTF8_ADDRESSES), TEXTS, TEXTS, BODIES)
@example("ann@example.com", "Ödegård, Ann, eve@example.com, " * 5, "s", "b")
@example("ann@example.com", '"eve@example.com" <eve@example.com>, ' * 20, "s", "b")
@example("ann@example.com", "ü" * 1000, "漢" * 1000, "x" * 10_000)
@example("ann@example.com", "", "", "")
def test_a_mail_parsed_again_has_one_recipient_and_the_same_texts(address, name, subject, body):
    job = EmailJob(1, address, name, subject, body)
    try:
        mail = OutgoingMail(job, SENDER)
        contents = [mail.content(eight_bit=eight_bit) for eight_bit in (False, True)]
    except BadMail as error:
        assert "encoded word" in str(error), "no other text of this kind is refused"
        return
    for content in contents:
        check(content, job)
    assert address.isascii() <= contents[0].isascii()


@settings(max_examples=30, deadline=None)
@given(st.one_of(ADDRESSES, UTF8_ADDRESSES), TEXTS, BODIES)
def test_a_built_message_is_written_as_it_is_sent(address, text, body):
    try:
        message = build_message(EmailJob(1, address, text, text, body), SENDER)
    except BadMail:
        return
    check(message.as_bytes(), EmailJob(1, address, text, text, body))
    assert message["To"].addresses[0].addr_spec == address


MANY = """
import random
from helpers.pools.email import BadMail, EmailJob, build_message
from helpers.pools.mail_message import OutgoingMail
draw = random.Random(1)
text = lambda: "".join(draw.choices(PARTS, k=draw.choice([1, 3, 10, 60])))[:1000]
for number in range(300):
    address = draw.choice(["ann@example.com", "j\xfcrgen@ex\xe4mple.com"])
    try:
        mail = OutgoingMail(EmailJob(1, address, text(), text(), text()), "news@example.com")
        contents = [mail.content(eight_bit=eight_bit) for eight_bit in (False, True)]
        message = build_message(EmailJob(1, address, text(), text(), text()), "news@example.com")
    except BadMail as error:
        assert "encoded word" in str(error), error
    else:
        assert [one.addr_spec for one in message["To"].addresses] == [address]
"""


def on_every_python():
    """Return the supported versions. All but the current one take seconds each, so they are `long`."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [pytest.param(version, marks=[] if version == own else pytest.mark.long) for version in pythons.SUPPORTED]


@pytest.mark.parametrize("version", on_every_python())
def test_mails_are_built_and_verified_on_every_supported_python(version):
    python = pythons.find(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    script = f"PARTS = {PARTS!a}\n{MANY}"
    done = subprocess.run([python, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr


def test_a_simple_name_and_subject_can_be_read_on_the_wire():
    content = OutgoingMail(EmailJob(1, "ann@example.com", "Ann Lee", "We miss you!", "Hi"), SENDER).content(
        eight_bit=False
    )
    assert b"\r\nTo: Ann Lee <ann@example.com>\r\nSubject: We miss you!\r\n" in content


GOOD = CheckedMail.of(EmailJob(1, "ann@example.com", "Ann", "Hello", "Hi\nAnn"), SENDER)


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        (b"To: Ann <ann@example.com>", b"To: Ann <eve@example.com>", "address"),
        (b"To: Ann <ann@example.com>", b"To: Ann <ann@example.com>, eve@example.com", "address"),
        (b"To: Ann <ann@example.com>", b"To: Eve <ann@example.com>", "address"),
        (b"To: Ann <ann@example.com>", b"To: all: ann@example.com, eve@example.com;", "address"),
        (b"To: Ann", b"Bcc: eve@example.com\r\nTo: Ann", "headers"),
        (b"To: Ann", b"To: eve@example.com\r\nTo: Ann", "headers"),
        (b"From: news", b"From: eve", "sender"),
        (b"Subject: Hello", b"Subject: Hell", "subject"),
        (b"Date: ", b"Date: Mon, 1 Jan 2001 00:00:00 +0000 ", "date"),
        (b"Message-ID: <", b"Message-ID: <x", "message_id"),
        (b"utf-8", b"latin-1", "content_type"),
        (b"Hi\r\nAnn", b"Hi Ann", "body"),
        (b"7bit", b"base64", "body"),
        (b"MIME-Version: 1.0\r\n", b"", "headers"),
        (b"Hi\r\nAnn", b"Hi\nAnn", "lines"),
        (b"Hi\r\nAnn", b"x" * 999, "lines"),
        (b"Ann\r\n", b"Ann", "lines"),
    ],
)
def test_a_message_that_differs_from_its_job_is_refused_with_the_value_and_the_rule(old, new, names):
    content = encode(GOOD)
    assert old in content
    verify(content, GOOD)
    with pytest.raises(BadMail, match=f"{names} .*must|must have {names}"):
        verify(new.join(content.rsplit(old, 1)), GOOD)


class Str(str):
    """A string whose methods give a check another text than the text that is written."""

    def __str__(self) -> str:
        return "eve@example.com\r\nBcc: all@example.com"

    __format__ = lambda self, spec: str(self)  # noqa: E731
    isascii = encode = rpartition = __repr__ = None


def test_the_characters_of_a_subclass_of_str_count_and_not_its_methods():
    job = EmailJob(1, Str("ann@example.com"), Str("Ann"), Str("Hello"), Str("Hi"))
    content = OutgoingMail(job, SENDER).content(eight_bit=False)
    check(content, EmailJob(1, "ann@example.com", "Ann", "Hello", "Hi"))


BAD_ADDRESSES = ["\ud800@example.com", "ann@\ud800.com", "ä" * 33 + "@example.com", f"a@{'x' * 64}.com", "a@-b.com"]
BAD_ADDRESSES += ["a@b-.com", "a@b..com", "a@b_c.com", "a\x9f@example.com", "a@b.com.", "@", "", "a@x💩.com"]


@pytest.mark.parametrize("address", [*BAD_ADDRESSES, b"a@example.com", None], ids=ascii)
def test_an_address_that_breaks_a_rule_is_refused_by_name(address):
    with pytest.raises(BadMail, match="address must be one address like name@example.com, not "):
        checked_address("address", address)


def test_an_error_shows_at_most_a_part_of_a_long_value():
    for change in ({"address": "x" * 10**6}, {"name": "\n" * 10**6}, {"subject": "\n" * 10**6}, {"body": "\0" * 10**6}):
        with pytest.raises(BadMail) as refused:
            OutgoingMail(
                EmailJob(**{"user_id": 1, "address": "a@b.c", "name": "", "subject": "", "body": ""} | change), SENDER
            )
        assert len(str(refused.value)) < 400


def test_mails_and_their_errors_survive_pickle():
    job = EmailJob(1, "ann@example.com", "Ann", "Hello", "Hi")
    assert pickle.loads(pickle.dumps(job)) == job and pickle.loads(pickle.dumps(GOOD)) == GOOD
    assert pickle.loads(pickle.dumps(BadMail("x"))).args == ("x",)
