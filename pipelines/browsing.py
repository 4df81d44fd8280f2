"""Open pages in the user's browser."""

import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Sequence

_PAUSE = 0.3
"""Seconds between two questions whether a server answers."""


def in_browser(addresses: Sequence[str]) -> None:
    """Open addresses in the browser that BROWSER names, or the system's; say so where there is none."""
    opened = [webbrowser.open(address) for address in addresses]
    if not all(opened):
        print("no browser could be opened here: the addresses above open in any (BROWSER names one)", flush=True)


def when_it_answers(address: str, then: Callable[[], None]) -> None:
    """Do something, beside all else, as soon as the MLflow server at an address answers."""
    threading.Thread(target=_wait, args=(address, then), daemon=True).start()


def _wait(address: str, then: Callable[[], None]) -> None:
    while not _answers(address):
        time.sleep(_PAUSE)
    then()


def _answers(address: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    try:
        direct.open(f"{address}/health", timeout=5).close()
    except OSError:
        return False
    return True
