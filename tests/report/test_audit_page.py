"""Audit reports in HTML, Markdown and XML, also with text from a hostile target."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

import gatecheck as gk
from gatecheck.faults.catalogue import find
from gatecheck.report.audit_page import audit_html, audit_markdown, junit_xml

HOSTILE = "<img src=x onerror=alert(1)>|`evil` ]]> \x1b[31m \ud800 & <script>alert(2)</script>"


@pytest.fixture(scope="module")
def failed_audit(tmp_path_factory):
    planted = find("lstm: f missing in dc").inject()
    only = ["forward_within_budget", "gradients_within_budget", "update_is_convex_combination"]
    return gk.audit(planted, profile="quick", only=only).save_counterexamples(
        tmp_path_factory.mktemp("cases")
    )


@pytest.fixture(scope="module")
def hostile_audit(failed_audit):
    properties = [replace(p, reason=HOSTILE) for p in failed_audit.properties]
    return replace(
        failed_audit,
        implementation=HOSTILE,
        limitations=[HOSTILE],
        properties=properties,
        versions={"x": HOSTILE},
    )


def test_page_shows_verdict_diagnosis_and_replay(failed_audit, open_page):
    page = open_page(audit_html(failed_audit, "gatecheck audit my.py:Mine"))
    assert page.title() == f"gatecheck: {failed_audit.implementation} as lstm: fail"
    assert (
        page.get_by_role("status").inner_text()
        == "✗ fail: 2 ran, 1 failed, 1 skipped, 0 inconclusive."
    )
    assert "lstm with 'f missing in dc'" in page.locator("body").inner_text()
    (found,) = [p for p in failed_audit.properties if p.outcome == "failed"]
    assert (
        f"gatecheck audit my.py:Mine --replay {found.saved_path}"
        in page.locator("pre").all_inner_texts()
    )
    assert (
        page.locator("svg[role=img] > title").text_content()
        == "2 properties measured an error; 1 beyond their budget."
    )
    assert page.locator("tbody tr").count() == 3


def test_page_works_by_keyboard_and_fits_a_phone(failed_audit, open_page):
    page = open_page(audit_html(failed_audit, "gatecheck audit x"), width=390)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    summary = page.locator("tbody summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("tbody details[open] p").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_hostile_text_is_escaped(hostile_audit, open_page):
    page = open_page(audit_html(hostile_audit, f"gatecheck audit {HOSTILE}"))
    assert page.locator("img, script").count() == 0
    assert "<img src=x onerror=alert(1)>" in page.locator("h1").inner_text()
    assert page.complaints == []


def test_requests_and_console_messages_are_detected(open_page):
    with pytest.raises(AssertionError):
        open_page("<img src='https://example.org/x.png'>")
    with pytest.raises(AssertionError):
        open_page("<script>console.log('x')</script>")


def test_hostile_text_cannot_break_markdown(hostile_audit):
    text = audit_markdown(
        replace(
            hostile_audit,
            properties=[replace(p, reason="a\n````\n<b>") for p in hostile_audit.properties],
        )
    )
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert outside != text
    assert "<b>" not in outside
    assert "<img" not in outside
    assert "<script" not in outside
    assert not re.search(r"(?<!\\)`evil", outside)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [5, 5]


def test_xml_lists_every_property_and_stays_valid(failed_audit, hostile_audit):
    suite = ElementTree.fromstring(junit_xml([failed_audit])).find("testsuite")
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == dict(
        tests="3", failures="1", errors="0", skipped="1"
    )
    (message,) = [
        case.find("failure").get("message") for case in suite if case.find("failure") is not None
    ]
    assert "but should be" in message
    named = ElementTree.fromstring(junit_xml([hostile_audit])).find("testsuite").get("name")
    assert named.startswith("<img src=x onerror=alert(1)>|`evil` ]]> �[31m � &")
