import pytest

from tidemill.gateway.reference.page_search import PageSearch

PAGES = {
    "webhooks": "# Webhooks\n\n## When a delivery fails\n\nIt is tried again; Retry-After is heeded.",
    "limits": "# Limits\n\n## Rates\n\nWait for `Retry-After`, then retry. A webhook is no request.",
    "reference/webhooks": "# Reference: webhooks\n\nWebhooks, webhooks, webhooks, webhooks.",
    "streaming": "# Streaming\n\nEvents as they come, without webhooks. Webhooks webhooks webhooks.",
}
TITLES = {name: text[2:].partition("\n")[0] for name, text in PAGES.items()}


def names(text, limit=10):
    return [found.name for found in PageSearch(PAGES, TITLES).find(text, limit)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("webhooks", ["webhooks", "reference/webhooks", "streaming", "limits"]),  # its title, then whoever says it most
        ("WEBHOOK", ["webhooks", "reference/webhooks", "streaming", "limits"]),
        ("rates", ["limits"]),
        ("delivery retry", ["webhooks"]),
        ("retry", ["limits", "webhooks"]),
        ("strea", ["streaming"]),
        ("retry-after", ["limits", "webhooks"]),
        ("webhooks nonsense", []),
        ("", []),
        ("!? _", []),
        ("s", ["streaming"]),
    ],
)
def test_pages_are_found_by_their_words(text, found):
    assert names(text) == found


def test_no_more_pages_than_asked_for():
    assert names("webhooks", limit=1) == ["webhooks"]


def test_a_found_page_has_its_title():
    assert PageSearch(PAGES, TITLES).find("limits", 1)[0].title == "Limits"
