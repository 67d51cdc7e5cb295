"""Who is whose in DMARC: names of the Public Suffix List, its exceptions, and what it does not know."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.organizational_domain import is_aligned, organizational_domain


@pytest.mark.parametrize(
    ("name", "organisation"),
    [
        ("kampanya.example.com.tr", "example.com.tr"),
        ("example.com.tr", "example.com.tr"),
        ("a.b.c.example.com", "example.com"),
        ("Example.COM.", "example.com"),
        ("posta.ornek.bel.tr", "ornek.bel.tr"),
        ("ornek.tr", "ornek.tr"),
        ("a.xn--rnek-5qa.com.tr", "xn--rnek-5qa.com.tr"),
        ("a.xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"),  # the list has it in Cyrillic
        ("a.b.kawasaki.jp", "a.b.kawasaki.jp"),  # *.kawasaki.jp
        ("a.city.kawasaki.jp", "city.kawasaki.jp"),  # !city.kawasaki.jp
        ("a.b.github.io", "b.github.io"),  # of the part that providers entered
        ("com.tr", "com.tr"),
        ("tr", "tr"),
        ("a.bulk.example.test", "example.test"),  # the list's rule `*` for what it does not know
        ("localhost", "localhost"),
    ],
)
def test_the_organisation_of_a_name(name: str, organisation: str) -> None:
    assert organizational_domain(name) == organisation


@pytest.mark.parametrize(
    ("signing", "author", "aligned"),
    [
        ("example.com.tr", "kampanya.example.com.tr", True),
        ("bilgi.example.com.tr", "kampanya.example.com.tr", True),
        ("a.kampanya.example.com.tr", "kampanya.example.com.tr", True),
        ("ample.com.tr", "example.com.tr", False),
        ("com.tr", "example.com.tr", False),  # one ends with the other, and they are nobody's and somebody's
        ("example.com", "example.com.tr", False),
        ("one.github.io", "other.github.io", False),
    ],
)
def test_relaxed_alignment(signing: str, author: str, *, aligned: bool) -> None:
    assert is_aligned(signing, author) is is_aligned(author, signing) is aligned


def test_nothing_is_fetched_and_nothing_is_written() -> None:
    """In a process of its own, where whoever opens a connection or a file for writing ends it."""
    program = (
        "import sys\n"
        "def watch(event, arguments):\n"
        "    opened = event == 'open' and isinstance(arguments[1], str) and set('wax+') & set(arguments[1])\n"
        "    if opened or event in ('socket.connect', 'socket.getaddrinfo', 'os.mkdir'):\n"
        "        print(event, arguments); sys.stdout.flush(); __import__('os')._exit(1)\n"
        "sys.dont_write_bytecode = True\n"
        "sys.addaudithook(watch)\n"
        "from gateway.organizational_domain import organizational_domain\n"
        "print(organizational_domain('kampanya.example.com.tr'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("example.com.tr\n", 0), done.stderr
