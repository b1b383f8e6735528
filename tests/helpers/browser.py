"""A browser without a network, in which a page must work without a word."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, Route, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Tests run as root in containers, and without a graphics card.
_ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextmanager
def offline_page(file: Path, *, width: int, height: int = 900) -> Iterator[Page]:
    """A file as a browser shows it; any request for something else, any error of the page, fails the test afterwards.

    Skips where there is no Chromium.
    """
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is installed")
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(f"console: {message.text}")

    def on_request(route: Route, request: Request) -> None:
        if request.url == file.as_uri():
            route.continue_()
        else:
            problems.append(f"request: {request.url}")
            route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
        try:
            context = browser.new_context(viewport={"width": width, "height": height})
            page = context.new_page()
            page.on("console", on_console)
            page.on("pageerror", lambda error: problems.append(f"error: {error}"))
            page.route("**/*", on_request)
            page.goto(file.as_uri())
            yield page
        finally:
            browser.close()
    assert not problems, problems
