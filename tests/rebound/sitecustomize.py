"""Rebinds a program from outside, which itself stays as it was published: Python imports this file
when it starts with the folder on PYTHONPATH.

The names of the vendor's hosts lead to a stand-in on this machine, at the port STAND_IN; no other
name leads anywhere. Pauses of many seconds between two questions last a twentieth of one."""

import os
import socket
import time

VENDOR = ".comodash.io", ".comodash.com", ".comotion.us"
HERE = "localhost", "127.0.0.1", "::1", "0.0.0.0", "", None
genuine_lookup, genuine_sleep = socket.getaddrinfo, time.sleep


def look_up(host, port, *options, **named):
    name = host.decode() if isinstance(host, bytes) else host
    if name not in HERE and name.endswith(VENDOR):
        return genuine_lookup("127.0.0.1", int(os.environ["STAND_IN"]), *options, **named)
    if name not in HERE:
        raise socket.gaierror(socket.EAI_NONAME, f"{name} is outside of this test")
    return genuine_lookup(host, port, *options, **named)


def sleep(seconds):
    genuine_sleep(min(seconds, 0.05))


socket.getaddrinfo, time.sleep = look_up, sleep
