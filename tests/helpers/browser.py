"""A browser without a network, in which a page must work without a word."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, sync_playwright

Launch = Callable[[str, tuple[str, ...]], Browser]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Tests run as root in containers, and without a graphics card.
_ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_WITHOUT_WEBGL = ["--no-sandbox", "--disable-gpu"]
"""Drawing on canvases is much slower on an emulated graphics card than without any."""
_shared: Launch | None = None


@contextmanager
def offline_page(file: Path, *, width: int, height: int = 900) -> Iterator[Page]:
    """A file as a browser shows it; any request for something else, any error of the page, fails the test afterwards.

    Skips where there is no Chromium.
    """
    with _page(file.as_uri(), lambda url: url == file.as_uri(), width, height, _ARGUMENTS) as page:
        yield page


@contextmanager
def local_page(address: str, *, width: int, height: int = 900, statuses: Collection[int | str] = ()) -> Iterator[Page]:
    """A page of a server of this test; any request elsewhere, any error of the page, fails the test afterwards.

    The browser's own messages about answers with one of the `statuses`, or an error so named, are expected. Skips where
    there is no Chromium.
    """
    origin = address.split("#")[0]
    prefixes = (origin, f"blob:{origin}", "data:")
    with _page(address, lambda url: url.startswith(prefixes), width, height, _WITHOUT_WEBGL, statuses) as page:
        yield page


@contextmanager
def _page(
    address: str,
    is_allowed: Callable[[str], bool],
    width: int,
    height: int,
    arguments: Sequence[str],
    statuses: Collection[int | str] = (),
) -> Iterator[Page]:
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is installed")
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(f"{status}" in message.text for status in statuses):
            problems.append(f"console: {message.text}")

    def on_request(route: Route, request: Request) -> None:
        if is_allowed(request.url):
            route.continue_()
        else:
            problems.append(f"request: {request.url}")
            route.abort()

    with nullcontext(_shared) if _shared is not None else _started() as launch:
        context = launch(executable, tuple(arguments)).new_context(viewport={"width": width, "height": height})
        try:
            page = context.new_page()
            page.on("console", on_console)
            page.on("pageerror", lambda error: problems.append(f"error: {error}"))
            page.route("**/*", on_request)
            page.goto(address)
            yield page
        finally:
            context.close()
    assert not problems, problems


@contextmanager
def one_browser() -> Iterator[None]:
    """Show all pages within in one browser, which takes 2 s to start; they share neither cookies nor storage."""
    global _shared
    with _started() as _shared:
        try:
            yield
        finally:
            _shared = None


@contextmanager
def _started() -> Iterator[Launch]:
    """A function that starts a browser with some arguments, once; its browsers end with the context."""
    with sync_playwright() as playwright:

        @functools.cache
        def launch(executable: str, arguments: tuple[str, ...]) -> Browser:
            browser = playwright.chromium.launch(executable_path=executable, args=list(arguments))
            browsers.append(browser)
            return browser

        browsers: list[Browser] = []
        try:
            yield launch
        finally:
            for browser in browsers:
                browser.close()
