"""The batch mailer against a real server: every mail reported as sent is in the mailbox once, and no other mail is."""

import smtplib
import threading
from collections import Counter
from email import message_from_bytes, policy

import pytest
from conftest import wait_until

from helpers.pools import BatchEmailSender, EmailJob, OutcomeUnknown
from helpers.pools.email import MailRefused, NoConnection, build_message
from helpers.services import MailServer, fate_of

QUICK = (0.0, 0.0)


def mails(count: int) -> list[EmailJob]:
    return [
        EmailJob(n, f"user{n}@example.com", f"User {n}", "We miss you!", f"Hi User {n}") for n in range(1, count + 1)
    ]


def sender_to(server: MailServer, **options) -> BatchEmailSender:
    return BatchEmailSender(host=server.host, port=server.port, **options)


def recipients(server: MailServer) -> list[str]:
    return sorted(mail.recipient for mail in server.mailbox())


def addresses(results) -> list[str]:
    return sorted(r.job.address for r in results)


# --- good mails ----------------------------------------------------------------------------------------------------


def test_every_mail_arrives_once_over_one_connection_per_worker():
    with MailServer(latency=(0.005, 0.01)) as server:
        with sender_to(server, workers=5, queue_size=10) as sender:
            results = list(sender.stream(mails(60)))
            assert server.counts()["peak"] == 5
        assert recipients(server) == addresses(results) == addresses_of(mails(60))
        assert all(r.ok and r.value.reply.startswith("250") and r.value.user_id == r.job.user_id for r in results)
        assert {m.message_id for m in server.mailbox()} == {r.value.message_id for r in results}
        wait_until(lambda: server.counts()["connections"] == 0)
    stats = sender.stats()
    assert (stats.processed, stats.sent, stats.failed, stats.unknown) == (60, 60, 0, 0)


def addresses_of(jobs) -> list[str]:
    return sorted(job.address for job in jobs)


def test_an_empty_list_opens_no_connection():
    with MailServer(latency=QUICK) as server:
        with sender_to(server) as sender:
            assert list(sender.stream([])) == []
        assert server.counts()["peak"] == 0
    assert sender.stats().processed == 0


def test_the_message_has_the_texts_of_the_job():
    job = EmailJob(7, "ann@example.org", 'Ann "the" Ödegård, PhD', "Grüße", "one\rtwo\r\n.three\n.\nfour")
    sent = build_message(job, "news@example.com")
    wire = sent.as_bytes()
    assert b"\r" not in wire.replace(b"\r\n", b""), "no bare carriage return is sent"
    message = message_from_bytes(wire, policy=policy.default)
    assert message["To"].addresses[0].addr_spec == "ann@example.org"
    assert message["To"].addresses[0].display_name == 'Ann "the" Ödegård, PhD'
    assert (message["Subject"], message["From"]) == ("Grüße", "news@example.com")
    assert message.get_content().splitlines() == ["one", "two", ".three", ".", "four"]
    assert message["Message-ID"].endswith("@example.com>") and message["Date"]


def test_a_body_that_tries_to_smuggle_a_second_mail_is_one_mail():
    body = "hello\r.\rMAIL FROM:<evil@example.com>\r\nRCPT TO:<all@example.com>\r.\r\n.\r\nDATA\n.\n"
    with MailServer(latency=QUICK) as server:
        with sender_to(server, workers=1) as sender:
            [result] = sender.stream([EmailJob(1, "a@example.com", "A", "s", body)])
        assert result.ok and recipients(server) == ["a@example.com"]


def test_a_non_ascii_address_is_sent_with_smtputf8_or_refused_with_the_reason():
    job = EmailJob(1, "jürgen@exämple.com", "Jürgen", "Grüße", "Grüße")
    with MailServer(latency=QUICK) as server, sender_to(server) as sender:
        [result] = sender.stream([job])
        assert result.ok and recipients(server) == ["jürgen@exämple.com"]
    with MailServer(latency=QUICK, smtputf8=False) as server, sender_to(server, workers=1) as sender:
        results = list(sender.stream([job, *mails(2)]))
        assert [r.ok for r in results] == [False, True, True]
        assert "does not offer SMTPUTF8" in str(results[0].error) and "jürgen@exämple.com" in str(results[0].error)
        assert server.counts()["peak"] == 1


# --- bad input -----------------------------------------------------------------------------------------------------


def test_bad_mails_affect_neither_other_mails_nor_the_connection():
    bad = [
        EmailJob(0, "nobody", "N", "s", "b"),
        EmailJob(0, "a@example.com", "N", "s\nBcc: x@example.com", "b"),
        "not a job",
    ]
    with MailServer(latency=QUICK) as server, sender_to(server, workers=2) as sender:
        results = list(sender.stream([*bad, *mails(10)]))
        assert recipients(server) == addresses_of(mails(10))
        assert Counter(type(r.error).__name__ for r in results) == {"NoneType": 10, "BadMail": 2, "TypeError": 1}
        assert server.counts()["peak"] <= 2
    assert (sender.stats().sent, sender.stats().failed) == (10, 3)


# --- faults of a server --------------------------------------------------------------------------------------------


def test_exactly_the_mails_that_the_server_refuses_are_reported_as_refused():
    faults = {"transient": 0.2, "permanent": 0.2}
    jobs = mails(60)
    with MailServer(latency=QUICK, seed=3, **faults) as server:
        with sender_to(server, workers=4) as sender:
            results = {r.job.address: r for r in sender.stream(jobs)}
        for address, result in results.items():
            fate = fate_of(address, 1, seed=3, **faults)
            assert result.ok == (fate == "accepted")
            if not result.ok:
                assert isinstance(result.error, MailRefused)
                assert (result.error.code, result.error.permanent) == {
                    "transient": (451, False),
                    "permanent": (554, True),
                }[fate]
        assert recipients(server) == addresses(r for r in results.values() if r.ok)
        assert server.counts()["peak"] <= 4, "a connection is kept after a refusal"
    stats = sender.stats()
    assert stats.processed == 60 and stats.sent == len([r for r in results.values() if r.ok]) and stats.unknown == 0


def test_a_mail_whose_reply_is_lost_is_unknown_and_never_sent_twice():
    with MailServer(latency=QUICK, lost=0.3, seed=5) as server:
        with sender_to(server, workers=3) as sender:
            results = list(sender.stream(mails(60)))
        arrived = Counter(mail.recipient for mail in server.mailbox())
    unknown = [r.job.address for r in results if isinstance(r.error, OutcomeUnknown)]
    assert sorted(unknown) == sorted(j.address for j in mails(60) if fate_of(j.address, 1, lost=0.3, seed=5) == "lost")
    assert max(arrived.values()) == 1
    assert set(addresses(r for r in results if r.ok)) <= set(arrived)
    assert {address in arrived for address in unknown} == {True, False}, (
        "some of these mails had arrived and some had not"
    )
    stats = sender.stats()
    assert (stats.unknown, stats.failed, stats.sent) == (len(unknown), 0, 60 - len(unknown))
    assert stats.submitted == stats.processed == 60


def test_more_workers_than_connections_take_turns_and_no_mail_fails():
    with MailServer(latency=(0.002, 0.005), max_connections=3) as server:
        with sender_to(server, workers=12, queue_size=20) as sender:
            results = list(sender.stream(mails(120)))
        counts = server.counts()
        assert all(r.ok for r in results), [r.error for r in results if not r.ok][:1]
        assert recipients(server) == addresses_of(mails(120))
        assert counts["peak"] == 3 and counts["refused"] >= 1
    assert {r.worker for r in results} == set(range(1, 13))


def test_a_server_that_closes_connections_after_a_few_mails_gets_new_connections():
    with MailServer(latency=QUICK, mails_per_connection=4) as server:
        with sender_to(server, workers=3) as sender:
            results = list(sender.stream(mails(50)))
        assert all(r.ok for r in results) and recipients(server) == addresses_of(mails(50))


def test_a_server_that_is_down_fails_every_mail_with_no_connection():
    with MailServer(latency=QUICK) as server:
        nobody = server.port
    with BatchEmailSender(host="127.0.0.1", port=nobody, workers=2, patience=0.1) as sender:
        results = list(sender.stream(mails(20)))
    assert {type(r.error) for r in results} == {NoConnection}
    assert "no connection has worked for 0.1 s; the last attempt:" in str(results[0].error)
    assert (sender.stats().failed, sender.stats().unknown) == (20, 0)


def test_a_server_that_crashes_during_a_batch_and_is_restarted_gets_every_mail_at_most_once():
    with MailServer(latency=(0.001, 0.003)) as server:
        with sender_to(server, workers=4, queue_size=10, patience=20) as sender:
            results = []
            for result in sender.stream(mails(150)):
                results.append(result)
                if len(results) == 40:
                    server.die()
                    threading.Timer(0.2, server.come_back).start()
        arrived = Counter(mail.recipient for mail in server.mailbox())
    assert sorted(r.job.user_id for r in results) == list(range(1, 151))
    assert max(arrived.values()) == 1, "no mail twice"
    unknown = {r.job.address for r in results if isinstance(r.error, OutcomeUnknown)}
    sent = {r.job.address for r in results if r.ok}
    assert sent <= set(arrived) and set(arrived) <= sent | unknown
    assert len(sent) + len(unknown) == 150, "only mails in transmission are unknown, and none has failed"
    assert len(unknown) <= 4


def test_the_caller_can_open_the_connections():
    with MailServer(latency=QUICK) as server:
        made = []

        def connect() -> smtplib.SMTP:
            made.append(1)
            return smtplib.SMTP(server.host, server.port, local_hostname="me", timeout=5)

        with sender_to(server, workers=2, connect=connect) as sender:
            assert all(r.ok for r in sender.stream(mails(10)))
        assert 1 <= len(made) <= 2


class Scripted:
    """A stand-in for smtplib.SMTP that returns or raises what the test says at each step."""

    def __init__(self, **steps):
        self.steps, self.sock, self.esmtp_features = steps, None, {}
        self.log: list[str] = []

    def _do(self, step, default):
        self.log.append(step)
        found = self.steps.get(step, default)
        if isinstance(found, BaseException):
            raise found
        return found

    def ehlo_or_helo_if_needed(self):
        return self._do("ehlo", None)

    def has_extn(self, name):
        return True

    def mail(self, sender, options=()):
        return self._do("mail", (250, b"ok"))

    def rcpt(self, address):
        return self._do("rcpt", (250, b"ok"))

    def data(self, content):
        return self._do("data", (250, b"taken"))

    def rset(self):
        return self._do("rset", (250, b"ok"))

    def quit(self):
        return self._do("quit", (221, b"bye"))

    def close(self):
        self.log.append("close")


LOST = smtplib.SMTPServerDisconnected("Connection unexpectedly closed")


@pytest.mark.parametrize(
    ("steps", "kind", "says"),
    [
        ({"data": LOST}, OutcomeUnknown, "lost after DATA"),
        ({"data": TimeoutError("timed out")}, OutcomeUnknown, "lost after DATA"),
        ({"data": (-1, b"gibberish")}, OutcomeUnknown, "not an SMTP reply"),
        ({"data": (354, b"go on")}, OutcomeUnknown, "not an SMTP reply"),
        ({"data": smtplib.SMTPDataError(552, b"too much")}, MailRefused, "552 too much"),
        ({"data": (421, b"closing")}, MailRefused, "421 closing"),
        ({"data": (554, b"spam")}, MailRefused, "554 spam"),
        ({"mail": (552, b"too big")}, MailRefused, "552 too big"),
        ({"rcpt": (450, b"busy")}, MailRefused, "450 busy"),
    ],
)
def test_each_reply_leads_to_one_outcome(steps, kind, says):
    made = []

    def connect():
        made.append(Scripted(**steps))
        return made[-1]

    with BatchEmailSender(host="h", port=1, workers=1, connect=connect) as sender:
        [result] = sender.stream(mails(1))
    assert isinstance(result.error, kind) and says in str(result.error)
    assert len(made) == 1 and made[0].log.count("data") <= 1, "the mail is not sent a second time"
    assert made[0].log[-1] == "close"


@pytest.mark.parametrize(
    "steps",
    [
        {"ehlo": LOST},
        {"mail": LOST},
        {"mail": (421, b"closing")},
        {"rcpt": ConnectionResetError("reset")},
        {"rcpt": (-1, b"gibberish")},
        {"data": smtplib.SMTPDataError(421, b"closing")},
    ],
)
def test_a_mail_whose_content_was_not_sent_is_sent_over_another_connection(steps):
    made = []

    def connect():
        made.append(Scripted(**(steps if not made else {})))
        return made[-1]

    with BatchEmailSender(host="h", port=1, workers=1, connect=connect) as sender:
        [result] = sender.stream(mails(1))
    assert result.ok and result.value.reply == "250 taken" and len(made) == 2


def test_a_mail_that_breaks_every_connection_fails_and_the_next_mail_is_sent():
    def connect():
        one = Scripted()
        one.rcpt = lambda address: (421, b"closing") if address == "user1@example.com" else (250, b"ok")
        return one

    with BatchEmailSender(host="h", port=1, workers=1, connect=connect) as sender:
        first, second = sender.stream(mails(2))
    assert isinstance(first.error, NoConnection) and "3 new connections" in str(first.error)
    assert second.ok


# --- statistics and shutdown ---------------------------------------------------------------------------------------


def test_stats_add_up_at_every_instant():
    with MailServer(latency=QUICK, transient=0.2, lost=0.1) as server:
        seen, stop = [], threading.Event()
        with sender_to(server, workers=6) as sender:

            def watch() -> None:
                while not stop.is_set():
                    s = sender.stats()
                    seen.append(
                        s.processed == s.sent + s.failed + s.unknown
                        and s.submitted == s.queued + s.running + s.processed + s.cancelled
                    )

            thread = threading.Thread(target=watch)
            thread.start()
            for _ in sender.stream(mails(200)):
                pass
            stop.set()
            thread.join()
    assert len(seen) > 20 and all(seen)


def test_a_forced_shutdown_reports_every_mail():
    with MailServer(latency=(0.05, 0.05), max_connections=2) as server:
        sender = sender_to(server, workers=6)
        for job in mails(60):
            sender.submit(job)
        wait_until(lambda: sender.stats().sent >= 2)
        report = sender.force_shutdown()
        results = {r.job.user_id: r for r in sender.results()}
        assert sorted(results) == list(range(1, 61)) and not report.still_running
        assert recipients(server) == addresses(r for r in results.values() if r.ok)
        assert {j.user_id for j in report.cancelled} == {n for n, r in results.items() if not r.ok}
    assert report.stats.sent + report.stats.cancelled == 60
