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
def failed(tmp_path_factory):
    planted = find("lstm: f missing in dc").plant()
    only = ["forward_within_budget", "gradients_within_budget", "kept_and_new_share_one_whole"]
    return gk.audit(planted, profile="quick", only=only).saving_counterexamples(
        tmp_path_factory.mktemp("cases")
    )


@pytest.fixture(scope="module")
def hostile(failed):
    properties = [replace(p, reason=HOSTILE) for p in failed.properties]
    return replace(
        failed,
        implementation=HOSTILE,
        narrowings=[HOSTILE],
        properties=properties,
        versions={"x": HOSTILE},
    )


def test_the_page_tells_the_verdict_the_diagnosis_and_how_to_see_it_again(failed, opened):
    page = opened(audit_html(failed, "gatecheck audit my.py:Mine"))
    assert page.title() == f"gatecheck: {failed.implementation} as lstm: fail"
    assert (
        page.get_by_role("status").inner_text()
        == "✗ fail: 2 ran, 1 failed, 1 skipped, 0 inconclusive."
    )
    assert "lstm with 'f missing in dc'" in page.locator("body").inner_text()
    (found,) = [p for p in failed.properties if p.outcome == "failed"]
    assert (
        f"gatecheck audit my.py:Mine --replay {found.saved}"
        in page.locator("pre").all_inner_texts()
    )
    assert (
        page.locator("svg[role=img] > title").text_content()
        == "2 properties measured an error; 1 beyond their budget."
    )
    assert page.locator("tbody tr").count() == 3


def test_the_page_is_used_by_keyboard_and_fits_a_telephone(failed, opened):
    page = opened(audit_html(failed, "gatecheck audit x"), width=390)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    summary = page.locator("tbody summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("tbody details[open] p").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_is_hostile_is_shown_as_text(hostile, opened):
    page = opened(audit_html(hostile, f"gatecheck audit {HOSTILE}"))
    assert page.locator("img, script").count() == 0
    assert "<img src=x onerror=alert(1)>" in page.locator("h1").inner_text()
    assert page.complaints == []


def test_the_page_can_fail_these_tests(opened):
    with pytest.raises(AssertionError):
        opened("<img src='https://example.org/x.png'>")
    with pytest.raises(AssertionError):
        opened("<script>console.log('x')</script>")


def test_markdown_cannot_be_broken_out_of(hostile):
    text = audit_markdown(
        replace(hostile, properties=[replace(p, reason="a\n````\n<b>") for p in hostile.properties])
    )
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert outside != text
    assert "<b>" not in outside
    assert "<img" not in outside
    assert "<script" not in outside
    assert not re.search(r"(?<!\\)`evil", outside)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [5, 5]


def test_xml_holds_every_property_and_stays_xml(failed, hostile):
    suite = ElementTree.fromstring(junit_xml([failed])).find("testsuite")
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == dict(
        tests="3", failures="1", errors="0", skipped="1"
    )
    (message,) = [
        case.find("failure").get("message") for case in suite if case.find("failure") is not None
    ]
    assert "but should be" in message
    named = ElementTree.fromstring(junit_xml([hostile])).find("testsuite").get("name")
    assert named.startswith("<img src=x onerror=alert(1)>|`evil` ]]> �[31m � &")
