"""The outside of a box: who sends mail to it, and who guesses its passwords.

Each service has a guesser with an address of its own; the owner is somewhere else, 203.0.113.6. What a command finds is
printed; a failed one ends with an exception.
"""

import imaplib
import os
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

OWNER = "203.0.113.6"
GUESSERS = {service: f"203.0.113.{number}" for number, service in enumerate(
    ["web", "imaps", "smtps", "submission", "ssh", "typing", "brake"], 10)}
USER, PASSWORD = "ada@family.example.org", "correct horse battery"
GUESSES = 400
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE


def connect(box, port, source, timeout=30):
    return socket.create_connection((box, port), timeout, (source, 0))


class Imap(imaplib.IMAP4_SSL):
    def __init__(self, box, source):
        self.source = source
        super().__init__(box, 993, ssl_context=TLS, timeout=30)

    def _create_socket(self, timeout):
        plain = connect(self.host, self.port, self.source, timeout)
        return self.ssl_context.wrap_socket(plain, server_hostname=self.host)


def imaps(box, source, password):
    imap = Imap(box, source)
    try:
        imap.login(USER, password)
        return True
    except imaplib.IMAP4.error:
        return False
    finally:
        imap.shutdown()


def smtp(box, source, password, port):
    kind = smtplib.SMTP_SSL if port == 465 else smtplib.SMTP
    more = {"context": TLS} if port == 465 else {}
    with kind(box, port, "client.example.net", timeout=30, source_address=(source, 0), **more) as server:
        if port == 587:
            server.starttls(context=TLS)
        try:
            server.login(USER, password)
            return True
        except smtplib.SMTPAuthenticationError:
            return False


def request(box, source, method, path, body, cookies):
    with TLS.wrap_socket(connect(box, 443, source, 60)) as stream:
        data = urllib.parse.urlencode(body).encode() if body else b""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: family.example.org\r\nConnection: close\r\n"
            f"Cookie: {'; '.join(f'{k}={v}' for k, v in cookies.items())}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        stream.sendall(head.encode() + data)
        answer = b""
        while chunk := stream.recv(65536):
            answer += chunk
    text = answer.decode(errors="replace")
    for name, value in re.findall(r"(?i)^set-cookie: ([^=]+)=([^;\r\n]*)", text, re.M):
        cookies[name] = value
    return int(text.split(" ", 2)[1]), text


def web(box, source, password, path="/mail/?_task=login"):
    """True or False; None if it is not even looked at."""
    cookies = {}
    _, page = request(box, source, "GET", "/mail/", None, cookies)
    token = re.search(r'name="_token" value="([^"]+)"', page)
    if not token:
        return None
    form = {"_token": token[1], "_task": "login", "_action": "login", "_user": USER, "_pass": password}
    status, _ = request(box, source, "POST", path, form, cookies)
    return {302: True, 429: None, 400: None}.get(status, False)


def ssh(box, source, password):
    with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as script:
        script.write(f"#!/bin/sh\necho '{password}'\n")
    os.chmod(script.name, 0o700)
    options = "StrictHostKeyChecking=no UserKnownHostsFile=/dev/null NumberOfPasswordPrompts=1 " \
        "PubkeyAuthentication=no ConnectTimeout=20 LogLevel=QUIET"
    command = ["setsid", "ssh", "-b", source]
    for option in options.split():
        command += ["-o", option]
    environment = {**os.environ, "SSH_ASKPASS": script.name, "SSH_ASKPASS_REQUIRE": "force"}
    done = subprocess.run([*command, f"pi@{box}", "true"], env=environment, stdin=subprocess.DEVNULL)
    os.unlink(script.name)
    return done.returncode == 0


SERVICES = {
    "web": (web, PASSWORD),
    "imaps": (imaps, PASSWORD),
    "smtps": (lambda *a: smtp(*a, 465), PASSWORD),
    "submission": (lambda *a: smtp(*a, 587), PASSWORD),
    "ssh": (ssh, "a login of the image"),
}


def log_in(box, service, source, password=None):
    function, right = SERVICES[service]
    return function(box, source, password or right)


def owner(box, service):
    """How long the right password from another address takes; it has to work."""
    begin = time.monotonic()
    if not log_in(box, service, OWNER):
        raise SystemExit(f"{service}: the right password is refused")
    return time.monotonic() - begin


def guess(box, service):
    """Wrong log-ins in parallel, and the owner meanwhile."""
    quiet = owner(box, service)
    wins, answered = [], []

    def guesser():
        # Each process of ssh's is a burden for this machine, not for the box.
        function = lambda: log_in(box, service, GUESSERS[service], "wrong horse battery")
        try:
            (wins if function() else answered).append(1)
        except (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.abort):
            pass

    count = 40 if service == "ssh" else GUESSES
    threads = [threading.Thread(target=guesser, daemon=True) for _ in range(count)]
    holders = []
    if service == "ssh":
        for _ in range(GUESSES - count):
            held = socket.socket()
            held.bind((GUESSERS[service], 0))
            held.setblocking(False)
            held.connect_ex((box, 22))
            holders.append(held)
    for thread in threads:
        thread.start()
    time.sleep(3)
    times = [owner(box, service) for _ in range(3)]
    if wins:
        raise SystemExit(f"{service}: a wrong password was taken")
    worst = max(times)
    if worst > 2:
        raise SystemExit(f"{service}: the owner took {worst:.1f} s, quiet {quiet:.1f} s")
    return f"owner {quiet:.2f} s, during {GUESSES} guesses {worst:.2f} s; {len(answered)} were answered so far"


def typing(box):
    """Somebody types wrong passwords at the web mail; somebody else logs in there."""
    for _ in range(5):
        try:
            web(box, GUESSERS["typing"], "wrong horse battery")
        except OSError:
            pass
    took = owner(box, "web")
    if took > 2:
        raise SystemExit(f"another person's log-in took {took:.1f} s")
    return f"{took:.2f} s"


def web_brake(box):
    """Log-ins at the web mail from one address: the first are judged, and then few."""
    source, judged, begin = GUESSERS["brake"], 0, time.monotonic()
    # However they are written.
    paths = ["/mail/?_task=login", "//mail/index.php?_task=login", "/mail/?x=1&_task=login"]
    for number in range(40):
        judged += web(box, source, "wrong horse battery", paths[number % 3]) is not None
    # Ten at once and ten a minute.
    took = time.monotonic() - begin
    if not 5 <= judged <= 12 + took / 6:
        raise SystemExit(f"{judged} of 40 were judged in {took:.0f} s")
    for path in ["/mail/", "/mail/?_task=mail", "/mail/?_task=%6Cogin"]:
        if web(box, OWNER, PASSWORD, path) is not None:
            raise SystemExit(f"a log-in by {path} is not counted")
    return f"{judged} of 40 were judged in {took:.0f} s"


def ready(box):
    """Waits until every service answers the right password."""
    for service in SERVICES:
        limit = time.monotonic() + 60
        while True:
            try:
                if log_in(box, service, "10.20.0.1" if service == "ssh" else OWNER):
                    break
            except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
                pass
            if time.monotonic() > limit:
                raise SystemExit(f"{service} does not take the right password")
            time.sleep(1)


def send(box, sender, recipient):
    with smtplib.SMTP(box, 25, "client.example.net", timeout=30, source_address=(OWNER, 0)) as server:
        server.ehlo()
        server.mail(sender)
        code, text = server.rcpt(recipient)
        return f"{code} {text.decode()}"


def verify(box, name):
    with smtplib.SMTP(box, 25, "client.example.net", timeout=30, source_address=(OWNER, 0)) as server:
        server.ehlo()
        code, text = server.verify(name)
        return f"{code} {text.decode()}"


if __name__ == "__main__":
    print(globals()[sys.argv[1]](*sys.argv[2:]) or "")
