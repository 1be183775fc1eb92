"""The mail server: its seed determines the fate of each mail, it enforces its limits, and it stops with its owner."""

import os
import smtplib
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from conftest import wait_until

from helpers.services import MailServer, fate_of, latency_of
from helpers.services.child import ServiceError

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
QUICK = (0.0, 0.0)
LATENCIES = [0.069, 0.05, 0.073]
FATES = ["transient", "permanent", "transient", "permanent", "accepted", "accepted", "accepted", "accepted"]
CONTENT = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n and more\r\nMessage-ID: <7@here>\r\n\r\n..a body\r\n"


def client(server) -> smtplib.SMTP:
    return smtplib.SMTP(server.host, server.port, local_hostname="localhost", timeout=20)


def offer(smtp, recipient) -> int:
    """Send a mail. Return the last code: 250, or the code of the refusal, or 0 if the connection was cut."""
    smtp.ehlo_or_helo_if_needed()
    smtp.mail("news@example.com")
    code, _ = smtp.rcpt(recipient)
    try:
        if code == 250:
            code, _ = smtp.data(CONTENT)
        if code != 250:
            smtp.rset()
    except smtplib.SMTPServerDisconnected:
        code = 0
    return code


def server_of(owner=None):
    """Return the child of this process (or of the process `owner`) that listens."""
    children = psutil.Process(owner).children()
    return next(p for p in children if any(c.status == psutil.CONN_LISTEN for c in p.net_connections("inet")))


def refused(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


# Random choices


def test_latencies_are_whole_milliseconds_spread_evenly_over_the_closed_range():
    found = Counter(round(latency_of(f"user{n}@example.com") * 1000, 6) for n in range(8000))
    assert set(found) == set(range(20, 100))
    assert sum(ms * n for ms, n in found.items()) / 8000 == pytest.approx(59.5, abs=1)
    assert latency_of("a@example.com", (0.0, 0.0)) == 0.0
    assert latency_of("a@example.com", seed=1) != latency_of("a@example.com", seed=3)


def test_draws_are_the_same_on_every_machine():
    assert [latency_of(f"user{n}@example.com") for n in (1, 2, 3)] == LATENCIES
    fates = [fate_of(f"user{n}@example.com", 1, transient=0.3, permanent=0.2, lost=0.2) for n in range(1, 9)]
    assert fates == FATES


def test_shares_are_exact_enough_and_only_a_permanent_refusal_is_the_same_for_every_attempt():
    names = [f"user{n}@example.com" for n in range(4000)]
    shares = {"transient": 0.3, "permanent": 0.2, "lost": 0.1}
    first, second = ({name: fate_of(name, attempt, **shares) for name in names} for attempt in (1, 2))
    assert Counter(first.values())["permanent"] / 4000 == pytest.approx(0.2, abs=0.03)
    assert Counter(first.values())["transient"] / 4000 == pytest.approx(0.3 * 0.8, abs=0.03)
    assert {n for n in names if first[n] == "permanent"} == {n for n in names if second[n] == "permanent"}
    assert {n for n in names if first[n] == "transient"} != {n for n in names if second[n] == "transient"}


# Replies and limits


def test_a_mail_is_in_the_mailbox_as_it_was_sent():
    with MailServer(latency=QUICK) as server:
        with client(server) as smtp:
            assert offer(smtp, "ann@example.com") == 250
        [mail] = server.mailbox()
        assert (mail.recipient, mail.subject, mail.message_id) == ("ann@example.com", "Grüße and more", "<7@here>")
        assert mail.size == len(CONTENT)  # the dot that is doubled in transit is single again
        assert server.counts()["accepted"] == 1


@pytest.mark.parametrize("clients", [1, 8])
def test_the_fate_of_a_mail_does_not_depend_on_the_number_of_connections(clients):
    shares = {"transient": 0.3, "permanent": 0.2, "lost": 0.2}
    names = [f"user{n}@example.com" for n in range(40)]
    wanted = {"accepted": 250, "transient": 451, "permanent": 554, "lost": 0}
    with MailServer(latency=QUICK, seed=4, **shares) as server:

        def bring(some) -> list[tuple[str, int, int]]:
            smtp, found = client(server), []
            for name in some:
                for attempt in (1, 2):
                    code = offer(smtp, name)
                    found.append((name, attempt, code))
                    if code == 0:
                        smtp = client(server)
            smtp.quit()
            return found

        with ThreadPoolExecutor(clients) as threads:
            found = [one for part in threads.map(bring, [names[k::clients] for k in range(clients)]) for one in part]
        counts, arrived = server.counts(), Counter(mail.recipient for mail in server.mailbox())
    fates = {(n, a): fate_of(n, 1 if a == 1 else 2, seed=4, **shares) for n, a, _ in found}
    assert {(n, a): code for n, a, code in found} == {key: wanted[fate] for key, fate in fates.items()}
    tally = Counter(fates.values())
    assert {fate: counts[fate] for fate in wanted} == {fate: tally[fate] for fate in wanted}
    assert tally["accepted"] < arrived.total() < tally["accepted"] + tally["lost"], (
        "half of the mails whose answer is lost have arrived"
    )


def test_a_dropped_connection_ends_before_the_content_and_the_next_attempt_is_a_new_choice():
    """`dropped` changes neither the fates of the mails nor their choices: the same mails are refused and lost."""
    shares = {"permanent": 0.1, "lost": 0.2}
    names = [f"user{n}@example.com" for n in range(40)]
    with MailServer(latency=QUICK, seed=4, dropped=0.4, **shares) as server:
        attempts, fates = Counter(), {}
        for name in names:
            while name not in fates:
                attempts[name] += 1
                try:
                    code = offer(client(server), name)
                    fates[name] = {250: "accepted", 554: "permanent", 0: "lost"}[code]
                except smtplib.SMTPServerDisconnected:  # in reply to RCPT
                    continue
        counts = server.counts()
    assert fates == {name: fate_of(name, 1, seed=4, **shares) for name in names}
    assert counts["dropped"] == attempts.total() - len(names) > 10 and max(attempts.values()) > 2


def test_connections_above_the_limit_get_421_until_one_is_closed():
    with MailServer(latency=QUICK, max_connections=3) as server:
        inside = [client(server) for _ in range(3)]
        with pytest.raises(smtplib.SMTPConnectError) as raised:
            client(server)
        assert raised.value.smtp_code == 421 and b"too many connections" in raised.value.smtp_error
        inside[0].quit()
        wait_until(lambda: server.counts()["connections"] == 2)
        inside[0] = client(server)
        assert all(offer(smtp, f"user{n}@example.com") == 250 for n, smtp in enumerate(inside))
        counts = server.counts()
        assert (counts["peak"], counts["refused"], counts["connections"]) == (3, 1, 3)
        for smtp in inside:
            smtp.close()  # without QUIT
        wait_until(lambda: server.counts()["connections"] == 0)


def test_after_enough_mails_a_connection_is_ended():
    with MailServer(latency=QUICK, mails_per_connection=2) as server:
        smtp = client(server)
        assert [offer(smtp, f"user{n}@example.com") for n in (1, 2)] == [250, 250]
        smtp.ehlo_or_helo_if_needed()
        code, words = smtp.mail("news@example.com")
        assert code == 421 and b"open another" in words
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.noop()
        smtp.close()


def test_a_mail_takes_its_latency_and_mails_do_not_wait_for_each_other():
    names = [f"user{n}@example.com" for n in range(12)]
    latency = (0.5, 1.0)
    with MailServer(latency=latency) as server:
        smtps = [client(server) for _ in names]

        def timed(pair) -> float:
            begun = time.monotonic()
            assert offer(*pair) == 250
            return time.monotonic() - begun

        begun = time.monotonic()
        with ThreadPoolExecutor(len(names)) as threads:
            seconds = list(threads.map(timed, zip(smtps, names, strict=True)))
        total = time.monotonic() - begun
        for smtp in smtps:
            smtp.quit()
    needed = [latency_of(name, latency) for name in names]
    assert all(took >= least for took, least in zip(seconds, needed, strict=True))
    assert total < sum(needed), "they were served at the same time"


def test_smtputf8_is_offered_or_not():
    for offered in (True, False):
        with MailServer(latency=QUICK, smtputf8=offered) as server, client(server) as smtp:
            smtp.ehlo()
            assert smtp.has_extn("smtputf8") == offered


def test_a_dead_server_cuts_its_connections_and_comes_back_with_its_mails():
    with MailServer(latency=QUICK) as server:
        smtp, port = client(server), server.port
        assert offer(smtp, "ann@example.com") == 250
        server.die()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.noop()
        with pytest.raises(ConnectionRefusedError):
            client(server)
        assert server.counts()["connections"] == 0
        server.come_back()
        assert server.port == port
        with client(server) as smtp:
            assert offer(smtp, "bob@example.com") == 250
        assert [mail.recipient for mail in server.mailbox()] == ["ann@example.com", "bob@example.com"]


def test_with_a_journal_the_mailbox_outlives_a_killed_server(tmp_path):
    journal = tmp_path / "journal"
    with MailServer(latency=QUICK, journal=journal) as server:
        port = server.port
        with client(server) as smtp:
            assert offer(smtp, "ann@example.com") == 250
        before = server.mailbox()
        server_of().kill()
        wait_until(lambda: refused(port))
    with MailServer(latency=QUICK, port=port, journal=journal) as server:
        assert server.port == port and server.mailbox() == before
        with client(server) as smtp:
            assert offer(smtp, "bob@example.com") == 250
        assert [mail.recipient for mail in server.mailbox()] == ["ann@example.com", "bob@example.com"]


# Start and stop


def test_it_listens_on_loopback_only():
    with MailServer() as server:
        listening = [c.laddr.ip for c in server_of().net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert set(listening) == {"127.0.0.1"} and not refused(server.port)


def test_it_stops_at_the_end_of_the_with_also_when_the_block_raises():
    server = MailServer()
    with pytest.raises(ZeroDivisionError), server:
        port = server.port
        raise ZeroDivisionError
    wait_until(lambda: refused(port))
    for ask in (lambda: server.port, lambda: server.host, server.mailbox, server.die):
        with pytest.raises(ServiceError, match="not running"):
            ask()
    with server:  # it can be used again, with an empty mailbox
        assert server.mailbox() == []
        with pytest.raises(ServiceError, match="running already"):
            server.__enter__()


@posix
def test_the_error_says_if_the_server_was_killed():
    with MailServer() as server:
        server_of().kill()
        wait_until(lambda: refused(server.port))
        with pytest.raises(ServiceError, match="has its process been killed"):
            server.counts()


@posix
def test_it_dies_with_its_owner():
    script = "from helpers.services import MailServer\nwith MailServer() as s: print(s.port, flush=True); input()"
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    port = int(owner.stdout.readline())
    assert not refused(port)
    owner.kill()
    owner.communicate()
    wait_until(lambda: refused(port))
